//go:build linux

package vhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// Host is a handle on a virtual host, which need not exist. Its methods are idempotent.
type Host struct {
	cluster *Cluster
	n       int
}

// Number counts the hosts of a cluster from 1.
func (h *Host) Number() int { return h.n }

// Name is the host's name, unique on the machine.
func (h *Host) Name() string { return h.cluster.switchNamespace() + "-" + strconv.Itoa(h.n) }

// IP is the host's address.
func (h *Host) IP() netip.Addr { return offset(h.cluster.subnet.Addr(), h.n) }

// Socket is the Unix socket of the host's Docker Engine, as the machine sees it. On the host it
// is /var/run/docker.sock.
func (h *Host) Socket() string { return filepath.Join(h.dir(), "docker.sock") }

// DockerHost is Socket in the form of the DOCKER_HOST variable.
func (h *Host) DockerHost() string { return "unix://" + h.Socket() }

// LogFile is where the host's engine logs.
func (h *Host) LogFile() string { return filepath.Join(h.dir(), "docker.log") }

// Dial connects from the host to a numeric address.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return dialIn(ctx, h.namespace(), network, addr)
}

// Listen listens on the host, on a numeric address.
func (h *Host) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	return listenIn(ctx, h.namespace(), network, addr)
}

// Command is a command that runs in the host's network. It is not started, and PowerOff does not
// end it.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + filepath.Join(namespaceDir, h.namespace()), name}, args...)...)
}

// Exec runs a command in the host's network and returns all that it wrote.
func (h *Host) Exec(ctx context.Context, name string, args ...string) (string, error) {
	out, err := h.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("run %s on host %s: %w: %s", name, h.IP(), err, out)
	}
	return string(out), nil
}

// PowerOn makes the host if it does not exist, starts it if it is off, and waits until its
// engine answers. Its data is as it was when the host was powered off, or taken down by a
// restart of the machine.
func (h *Host) PowerOn(ctx context.Context) error {
	on, err := h.On()
	if err != nil {
		return err
	}
	if err := h.cluster.ensureHostLink(ctx, h); err != nil {
		return fmt.Errorf("join host %s to the network: %w", h.IP(), err)
	}
	if !on {
		if err := h.boot(ctx); err != nil {
			return fmt.Errorf("start host %s: %w", h.IP(), err)
		}
	}
	return h.StartDocker(ctx)
}

// PowerOff is a power cut: the link goes down, then all processes end at once, containers too,
// and what only memory holds is lost: interfaces, firewall rules, /run.
func (h *Host) PowerOff(ctx context.Context) error {
	if err := h.LinkDown(ctx); err != nil {
		return err
	}
	if err := h.cgroup().kill(ctx); err != nil {
		return fmt.Errorf("power off host %s: %w", h.IP(), err)
	}
	// The link goes with its end at the switch at once; with the namespace it would go some time.
	if linkExists(ctx, h.cluster.switchNamespace(), h.port()) {
		if err := ip(ctx, "-n", h.cluster.switchNamespace(), "link", "del", h.port()); err != nil {
			return fmt.Errorf("power off host %s: %w", h.IP(), err)
		}
	}
	if _, err := os.Stat(filepath.Join(namespaceDir, h.namespace())); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := ip(ctx, "netns", "del", h.namespace()); err != nil {
		return fmt.Errorf("power off host %s: %w", h.IP(), err)
	}
	return nil
}

// Destroy removes the host and its data. The other hosts notice what they would of a power cut.
func (h *Host) Destroy(ctx context.Context) error {
	if err := h.PowerOff(ctx); err != nil {
		return err
	}
	if err := unmountBelow(h.dir()); err != nil {
		return err
	}
	if err := os.RemoveAll(h.dir()); err != nil {
		return fmt.Errorf("remove data of host %s: %w", h.IP(), err)
	}
	return nil
}

// On tells whether the host has been started and not powered off since.
func (h *Host) On() (bool, error) {
	pids, err := h.daemonCgroup().pids()
	if err != nil {
		return false, fmt.Errorf("look at host %s: %w", h.IP(), err)
	}
	for _, pid := range pids {
		if commandName(pid) == "sh" {
			return true, nil
		}
	}
	return false, nil
}

// boot starts the host's first process, which starts the engine.
func (h *Host) boot(ctx context.Context) error {
	// After a boot that broke off, or a first process killed by hand.
	if err := h.cgroup().kill(ctx); err != nil {
		return err
	}
	if err := h.writeFiles(); err != nil {
		return err
	}
	procs, err := h.daemonCgroup().make()
	if err != nil {
		return err
	}
	socket, err := h.listen()
	if err != nil {
		return err
	}
	defer socket.Close()
	log, err := os.OpenFile(h.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	// setsid --fork returns at once: the host belongs to nobody's session and to no parent.
	cmd := exec.CommandContext(ctx, "setsid", append([]string{"--fork", "sh", h.file("init.sh"), "boot"}, h.dockerCommand()...)...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(),
		"HOST="+h.Name(), "STATE="+h.dir(), "CGROUP_PROCS="+procs,
		"NETNS="+filepath.Join(namespaceDir, h.namespace()))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{socket} // number 3
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start first process: %w", err)
	}
	return nil
}

// listen makes the engine's socket. The file stays when the descriptor is closed.
func (h *Host) listen() (*os.File, error) {
	if err := os.Remove(h.Socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.Socket(), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	if err := os.Chmod(h.Socket(), 0o600); err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	return listener.File()
}

// signalDocker sends sig to the processes of the engine itself, not to its containers'.
func (h *Host) signalDocker(sig syscall.Signal) error {
	pids, err := h.dockerPids()
	if err != nil {
		return err
	}
	return signal(pids, sig)
}

func (h *Host) namespace() string    { return h.Name() }
func (h *Host) port() string         { return "h" + strconv.Itoa(h.n) }
func (h *Host) dir() string          { return filepath.Join(h.cluster.dir, strconv.Itoa(h.n)) }
func (h *Host) file(n string) string { return filepath.Join(h.dir(), n) }

// cgroup has the host's processes: below it the engine's and one group per container.
func (h *Host) cgroup() cgroup       { return h.cluster.cgroup() + cgroup("/"+strconv.Itoa(h.n)) }
func (h *Host) daemonCgroup() cgroup { return h.cgroup() + "/daemon" }
