package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// login is what one can show to a host.
type login struct {
	user    string
	signers []ssh.Signer
	tried   []string // where the keys are from, and why others were not taken
	agent   net.Conn // nil for none
}

// newLogin collects the keys: that of the host's key file, or else those of the agent and of the
// usual files. The caller closes it when the host has let it in.
func newLogin(host hosting.Host) (*login, error) {
	l := &login{user: host.User}
	if host.KeyFile != "" {
		return l, l.addFile(host.KeyFile, true)
	}
	l.addAgent()
	home, err := os.UserHomeDir()
	if err != nil {
		return l, nil // then the agent's will have to do
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if err := l.addFile(filepath.Join(home, ".ssh", name), false); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (l *login) close() {
	if l.agent != nil {
		l.agent.Close()
	}
}

func (l *login) methods() []ssh.AuthMethod { return []ssh.AuthMethod{ssh.PublicKeys(l.signers...)} }

func (l *login) addAgent() {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return
	}
	conn, err := net.DialTimeout("unix", socket, connectTimeout)
	if err != nil {
		l.tried = append(l.tried, fmt.Sprintf("no agent (%v)", err))
		return
	}
	l.agent = conn
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		l.tried = append(l.tried, fmt.Sprintf("none of the agent (%v)", err))
		return
	}
	l.signers = append(l.signers, signers...)
	l.tried = append(l.tried, fmt.Sprintf("%d of the agent", len(signers)))
}

// addFile adds the key of a file. One that must not be missing must be usable too.
func (l *login) addFile(file string, must bool) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	var signer ssh.Signer
	if err == nil {
		signer, err = ssh.ParsePrivateKey(data)
	}
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		err = errors.New("it has a passphrase: ssh-add gives it to the agent")
	}
	switch {
	case err != nil && must:
		return fmt.Errorf("read key %s: %w", file, err)
	case err != nil:
		l.tried = append(l.tried, fmt.Sprintf("not %s (%v)", file, err))
	default:
		l.signers = append(l.signers, signer)
		l.tried = append(l.tried, file)
	}
	return nil
}

// explain adds to a refusal which keys were shown.
func (l *login) explain(err error) error {
	if !strings.Contains(err.Error(), "unable to authenticate") {
		return err
	}
	keys := "none"
	if len(l.tried) > 0 {
		keys = strings.Join(l.tried, ", ")
	}
	return fmt.Errorf("%s is not let in with any of these keys: %s: %w", l.user, keys, err)
}
