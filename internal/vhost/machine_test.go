//go:build linux

package vhost

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestMachine starts a machine with and one without an engine, restarts each from within and by a
// power cut, and looks for what is left after them.
func TestMachine(t *testing.T) {
	trees, err := MakeTrees(t.Context(), filepath.Join("..", "..", "build", "machines"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, "vmach", "10.119.0.0/24")
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	engine, bare := c.Machine(1, trees), c.Machine(2, trees)
	for _, m := range []*Machine{engine, bare} {
		if err := m.PowerOn(t.Context(), MachineOptions{Name: "web-1", AuthorizedKeys: []string{key}, Engine: m == engine}); err != nil {
			t.Fatal(err)
		}
		const settled = "systemctl is-system-running --wait && systemctl --failed --no-legend"
		if got := remote(t, m, signer, settled+"; hostname"); got != "running\nweb-1" {
			t.Errorf("machine %s: %q", m.IP(), got)
		}
		boot := remote(t, m, signer, "readlink /proc/self/ns/pid; touch /root/kept; ip link add left type dummy; systemctl reboot --no-block")
		eventually(t, "machine comes back", func() error {
			if now, err := tryRemote(m, signer, "readlink /proc/self/ns/pid"); err != nil || now == boot {
				return fmt.Errorf("is %q, was %q: %w", now, boot, err)
			}
			return nil
		})
		if got := remote(t, m, signer, "ls /root/kept; ls /sys/class/net/left 2>&1 | tail -c 10"); !strings.HasPrefix(got, "/root/kept") || !strings.HasSuffix(got, "directory") {
			t.Errorf("after a reboot: %q", got)
		}
		if err := m.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := remote(t, engine, signer, "docker info --format '{{.Driver}} {{.ServerErrors}}'"); got != "overlay2 []" {
		t.Errorf("engine: %q", got)
	}
	if got, err := tryRemote(bare, signer, "docker info"); err == nil {
		t.Errorf("an engine where none should be: %q", got)
	}
	if err := bare.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bare.host.dir()); err == nil {
		t.Error("the disk of a destroyed machine is left")
	}
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := c.Leftovers(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func remote(t *testing.T, m *Machine, key ssh.Signer, command string) (out string) {
	t.Helper()
	eventually(t, command, func() (err error) {
		out, err = tryRemote(m, key, command)
		return err
	})
	return out
}

// tryRemote runs a command on the machine, and believes only in the machine's own host key.
func tryRemote(m *Machine, key ssh.Signer, command string) (string, error) {
	hostKey, err := m.HostKey()
	if err != nil {
		return "", err
	}
	client, err := ssh.Dial("tcp", m.SSH().String(), &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(hostKey), Timeout: 5 * time.Second,
	})
	if err != nil {
		return "", err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	out, err := session.CombinedOutput(command)
	return strings.TrimSpace(string(out)), err
}
