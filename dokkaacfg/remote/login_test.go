package remote

import (
	"crypto/ed25519"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// writePrivate writes a private key and returns its public part.
func writePrivate(t *testing.T, file string) (ed25519.PrivateKey, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return private, ssh.FingerprintSHA256(public)
}

// serveAgent is an SSH agent that has a key, until the test ends.
func serveAgent(t *testing.T, key ed25519.PrivateKey) {
	t.Helper()
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: &key}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				_ = agent.ServeAgent(keys, conn) // it ends when the client closes
			})
		}
	})
	t.Cleanup(func() { listener.Close(); group.Wait() })
	t.Setenv("SSH_AUTH_SOCK", socket)
}

// lockedKey has the form of a key with a passphrase, which is all that is looked at.
const lockedKey = `-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,00000000000000000000000000000000

AAAA
-----END RSA PRIVATE KEY-----
`

func TestKeysThatAreShown(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	other := filepath.Join(home, "other")
	_, usual := writePrivate(t, filepath.Join(home, ".ssh", "id_ed25519"))
	if err := os.WriteFile(filepath.Join(home, ".ssh", "id_rsa"), []byte(lockedKey), 0o600); err != nil {
		t.Fatal(err)
	}
	_, named := writePrivate(t, other)
	held, ofAgent := writePrivate(t, filepath.Join(home, "held"))
	serveAgent(t, held)

	l, err := newLogin(hosting.Host{})
	defer l.close()
	if err != nil {
		t.Fatal(err)
	}
	if got := fingerprints(l); got != ofAgent+" "+usual {
		t.Errorf("shown are %s, want the agent's %s and the usual %s", got, ofAgent, usual)
	}
	if tried := strings.Join(l.tried, ", "); !strings.Contains(tried, "id_rsa (it has a passphrase: ssh-add gives it to the agent)") {
		t.Errorf("tried: %s", tried)
	}
	only, err := newLogin(hosting.Host{KeyFile: other})
	if err != nil || fingerprints(only) != named {
		t.Errorf("with a key file, shown are %s, %v; want %s", fingerprints(only), err, named)
	}
	if _, err := newLogin(hosting.Host{KeyFile: filepath.Join(home, "none")}); err == nil {
		t.Error("a key file that is missing is no error")
	}
}

func fingerprints(l *login) string {
	var all []string
	for _, signer := range l.signers {
		all = append(all, ssh.FingerprintSHA256(signer.PublicKey()))
	}
	return strings.Join(all, " ")
}
