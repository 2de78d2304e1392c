//go:build linux

package vhost

import (
	"bufio"
	"context"
	"crypto/ed25519"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

//go:embed machine.sh
var machineScript []byte

const bootTimeout = 60 * time.Second

// Machine is a virtual host as one gets it from a provider: with a file system of its own, systemd
// as its first process, and an SSH server that lets root in. Whether it has a Docker Engine is
// chosen when it is made. Its methods are idempotent; it need not exist. It is one of the cluster's
// hosts, so that the cluster's Down removes it.
type Machine struct {
	host  *Host
	trees Trees
}

// MachineOptions say what a machine has when it is first started.
type MachineOptions struct {
	Name           string // the host's name of itself; default that on this machine
	AuthorizedKeys []string
	Engine         bool              // with Debian's Docker Engine
	Files          map[string]string // further ones by path, as a provider's user data would write them
}

// Machine returns a handle on machine n, which has the address of host n.
func (c *Cluster) Machine(n int, trees Trees) *Machine {
	return &Machine{host: c.Host(n), trees: trees}
}

// IP is the machine's address.
func (m *Machine) IP() netip.Addr { return m.host.IP() }

// SSH is where its SSH server listens.
func (m *Machine) SSH() netip.AddrPort { return netip.AddrPortFrom(m.IP(), 22) }

// LogFile is where the output of its start goes.
func (m *Machine) LogFile() string { return m.host.file("machine.log") }

// Dial connects from the machine to a numeric address.
func (m *Machine) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return m.host.Dial(ctx, network, addr)
}

// LinkDown unplugs the machine.
func (m *Machine) LinkDown(ctx context.Context) error { return m.host.LinkDown(ctx) }

// LinkUp plugs the machine in again.
func (m *Machine) LinkUp(ctx context.Context) error { return m.host.LinkUp(ctx) }

// PowerOn makes the machine if it does not exist, starts it if it is off, and waits until its SSH
// server answers. The options count when it is made.
func (m *Machine) PowerOn(ctx context.Context, o MachineOptions) error {
	c := m.host.cluster
	if err := c.writeSubnet(); err != nil {
		return err
	}
	if err := c.ensureNetwork(ctx); err != nil {
		return fmt.Errorf("make network of cluster %s: %w", c.name, err)
	}
	if err := c.ensureHostLink(ctx, m.host); err != nil {
		return fmt.Errorf("join machine %s to the network: %w", m.IP(), err)
	}
	on, err := m.On()
	if err != nil {
		return err
	}
	if !on {
		if err := m.make(o); err != nil {
			return fmt.Errorf("make machine %s: %w", m.IP(), err)
		}
		if err := m.boot(ctx); err != nil {
			return fmt.Errorf("start machine %s: %w", m.IP(), err)
		}
	}
	return m.waitSSH(ctx)
}

// On tells whether the machine has been started and neither powered off nor shut down since.
func (m *Machine) On() (bool, error) {
	pids, err := m.power().pids()
	if err != nil {
		return false, fmt.Errorf("look at machine %s: %w", m.IP(), err)
	}
	return len(pids) > 0, nil
}

// PowerOff is a power cut.
func (m *Machine) PowerOff(ctx context.Context) error { return m.host.PowerOff(ctx) }

// Reboot is a power cut and what follows it.
func (m *Machine) Reboot(ctx context.Context) error {
	if err := m.PowerOff(ctx); err != nil {
		return err
	}
	return m.PowerOn(ctx, MachineOptions{})
}

// Destroy removes the machine and its disk.
func (m *Machine) Destroy(ctx context.Context) error { return m.host.Destroy(ctx) }

// HostKey is the public key of the machine's SSH server.
func (m *Machine) HostKey() (ssh.PublicKey, error) {
	data, err := os.ReadFile(m.disk(hostKeyFile + ".pub"))
	if err != nil {
		return nil, fmt.Errorf("read host key of machine %s: %w", m.IP(), err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return key, err
}

const hostKeyFile = "etc/ssh/ssh_host_ed25519_key"

// power is the control group of what starts the machine, beside that of the machine itself.
func (m *Machine) power() cgroup { return m.host.cgroup() + "/power" }

// disk is the place of a file that was written on the machine, or before its start.
func (m *Machine) disk(file string) string { return m.host.file(filepath.Join("upper", file)) }

// make makes the disk. It is whole when it has a host key, which comes last.
func (m *Machine) make(o MachineOptions) error {
	for _, dir := range []string{"upper", "work", "root", "docker", "containerd"} {
		if err := os.MkdirAll(m.host.file(dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(m.host.file("machine.sh"), machineScript, 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(m.disk(hostKeyFile + ".pub")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if o.Name == "" {
		o.Name = m.host.Name()
	}
	resolv, err := resolvConf()
	if err != nil {
		return err
	}
	trees := m.trees.bare()
	if o.Engine {
		trees = m.trees.engine() + ":" + trees
	}
	private, public, err := newHostKey()
	if err != nil {
		return err
	}
	type file struct {
		path string
		data string
		mode os.FileMode
	}
	var files []file
	for path, data := range o.Files {
		files = append(files, file{m.disk(path), data, 0o644})
	}
	for _, file := range append(files, []file{
		{m.host.file("trees"), trees, 0o644},
		{m.disk("etc/hostname"), o.Name + "\n", 0o644},
		{m.disk("etc/hosts"), "127.0.0.1 localhost\n127.0.1.1 " + o.Name + "\n", 0o644},
		{m.disk("etc/resolv.conf"), string(resolv), 0o644},
		{m.disk("root/.ssh/authorized_keys"), strings.Join(o.AuthorizedKeys, "\n") + "\n", 0o600},
		{m.disk(hostKeyFile), private, 0o600},
		{m.disk(hostKeyFile + ".pub"), public, 0o644},
	}...) {
		if err := os.MkdirAll(filepath.Dir(file.path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file.path, []byte(file.data), file.mode); err != nil {
			return err
		}
	}
	return nil
}

func newHostKey() (private, public string, err error) {
	of, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", "", err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", "", err
	}
	signer, err := ssh.NewPublicKey(of)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(signer)), nil
}

// boot starts the script that starts the machine.
func (m *Machine) boot(ctx context.Context) error {
	// After a start that broke off, or a shutdown.
	if err := m.host.cgroup().kill(ctx); err != nil {
		return err
	}
	trees, err := os.ReadFile(m.host.file("trees"))
	if err != nil {
		return err
	}
	name, err := os.ReadFile(m.disk("etc/hostname"))
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	// As with a host, it belongs to nobody's session and to no parent.
	cmd := exec.CommandContext(ctx, "setsid", "--fork", "sh", m.host.file("machine.sh"), "power")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(),
		"NAME="+strings.TrimSpace(string(name)), "STATE="+m.host.dir(), "TREES="+string(trees),
		"NETNS="+filepath.Join(namespaceDir, m.host.namespace()),
		"POWER="+string(m.power()), "MACHINE="+string(m.host.cgroup()+"/machine"))
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}

// waitSSH waits until the SSH server greets.
func (m *Machine) waitSSH(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	var last error
	err := wait(limited, 50*time.Millisecond, func() (bool, error) {
		last = m.greeted(limited)
		return last == nil, nil
	})
	if err != nil {
		log, _ := os.ReadFile(m.LogFile()) // its absence says as much
		return fmt.Errorf("wait for machine %s: %w: %w\n%s", m.IP(), err, last, log)
	}
	return nil
}

func (m *Machine) greeted(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", m.SSH().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}
