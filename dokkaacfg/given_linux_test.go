package dokkaacfg

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
	"github.com/dokkaa/dokkaa/dokkaacfg/remote"
	"github.com/dokkaa/dokkaa/internal/vhost"
	"github.com/dokkaa/dokkaa/internal/vhosttest"
)

// machines are hosts as an operator has them, and the operator's home.
type machines struct {
	*testing.T
	cluster  *vhost.Cluster
	machines []*vhost.Machine
	trees    vhost.Trees
	flags    []string
	home     string
	key      string // by which the operator is let in
}

// newMachines makes machines, the first of them with a Docker Engine, the others without one.
func newMachines(t *testing.T, name, subnet string, n int) *machines {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("virtual hosts need root")
	}
	vhosttest.Claim(t, name)
	trees, err := vhost.MakeTrees(t.Context(), filepath.Join("..", "build", "machines"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := vhost.New(vhost.Options{Name: name, Subnet: netip.MustParsePrefix(subnet), Dir: filepath.Join(t.TempDir(), name)})
	if err != nil {
		t.Fatal(err)
	}
	down := func() {
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	}
	down() // after an earlier run that was killed
	t.Cleanup(down)
	m := &machines{T: t, cluster: c, home: t.TempDir(), flags: []string{"--provider=ssh", "--cluster=" + name, "--state-dir=" + t.TempDir()}}
	t.Setenv("HOME", m.home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("SSH_AUTH_SOCK", "")
	m.trees, m.key = trees, m.writeKey()
	for n := range n {
		machine := c.Machine(n+1, trees)
		if err := machine.PowerOn(t.Context(), vhost.MachineOptions{AuthorizedKeys: []string{m.key}, Engine: n == 0}); err != nil {
			t.Fatal(err)
		}
		m.machines = append(m.machines, machine)
	}
	return m
}

// writeKey makes the operator's key, and returns what a host lets in by it.
func (m *machines) writeKey() string {
	m.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		m.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		m.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		m.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(m.home, ".ssh"), 0o700); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.home, ".ssh", "id_ed25519"), pem.EncodeToMemory(block), 0o600); err != nil {
		m.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// up is the command that makes the cluster of all machines. To all but the first one logs in as a
// user who may become root.
func (m *machines) up() []string {
	m.Helper()
	args := []string{"up", "--images=" + builtImages}
	for n, machine := range m.machines {
		user := "root"
		if n > 0 {
			user = "ann"
			m.on(machine, `id ann >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ann
				cp -r /root/.ssh /home/ann/; chown -R ann /home/ann/.ssh
				echo 'ann ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ann`)
		}
		args = append(args, "--host="+user+"@"+machine.IP().String())
	}
	return args
}

// call runs a command that has to work.
func (m *machines) call(args ...string) string {
	m.Helper()
	return mustCall(m.T, append(m.flags, args...)...)
}

// onWith runs a script on a machine with a file as its input.
func (m *machines) onWith(machine *vhost.Machine, script, file string) string {
	m.Helper()
	var in io.Reader
	if file != "" {
		opened, err := os.Open(file)
		if err != nil {
			m.Fatal(err)
		}
		defer opened.Close()
		in = opened
	}
	out, err := m.try(machine, script, in)
	if err != nil {
		m.Fatal(err)
	}
	return out
}

// try runs a script on a machine that may not be there.
func (m *machines) try(machine *vhost.Machine, script string, in io.Reader) (string, error) {
	host := remote.New(hosting.Host{Name: machine.IP().String(), SSH: machine.SSH(), User: "root"}, remote.NewHostKeys(filepath.Join(m.home, "known_hosts")))
	defer host.Close()
	out, err := host.Run(m.Context(), script, in)
	return strings.TrimSpace(out), err
}

// on runs a script on a machine, beside dokkaacfg.
func (m *machines) on(machine *vhost.Machine, script string) string {
	m.Helper()
	return m.onWith(machine, script, "")
}

// crawls waits until the crawler gets another page of nginx.
func (m *machines) crawls() {
	m.Helper()
	const script = `docker logs --since 3s nginx-and-crawler---crawler 2>&1 || true`
	err := poll(m.Context(), time.Minute, func(context.Context) error {
		var said []string
		for _, machine := range m.machines { // some of which may be starting
			out, err := m.try(machine, script, nil)
			if strings.Contains(out, "Welcome") {
				return nil
			}
			said = append(said, fmt.Sprintf("host %s: %.200q, %v", machine.IP(), out, err))
		}
		return fmt.Errorf("no page\n%s", strings.Join(said, "\n"))
	})
	if err != nil {
		_, status, errOut := call(m.T, append(m.flags, "status")...)
		m.Fatalf("%v\n%s\n%s", err, status, errOut)
	}
}

// leftOnHost lists what down should not leave, and the settings of Docker.
const leftOnHost = `docker ps -a --format '{{.Names}}'; docker image ls --format '{{.Repository}}'; docker volume ls -q; nft list tables | grep dokkaa || true; ls -d /etc/dokkaa /etc/systemd/system/*dokkaa* 2>/dev/null || true; cat /etc/docker/daemon.json 2>/dev/null || true`

// TestClusterOfGivenHosts makes a cluster of two machines, one of which runs Docker with settings of
// its own already; looks at it from outside; restarts a host; and takes the cluster away again.
func TestClusterOfGivenHosts(t *testing.T) {
	m := newMachines(t, "cfgssh", "10.127.0.0/24", 2)
	first, second := m.machines[0], m.machines[1]
	const settings = `{"debug": false, "log-opts": {"max-size": "5m"}}`
	m.on(first, "mkdir -p /etc/docker; echo '"+settings+"' >/etc/docker/daemon.json; systemctl restart docker; docker volume create theirs")
	m.onWith(first, `docker load --quiet; docker create --name from dockerfile/ubuntu; docker export from | docker import - theirs
		docker rm from; docker image rm dockerfile/ubuntu; docker run -d --name theirs --restart always theirs sleep 1d`, filepath.Join(builtImages, "dockerfile-ubuntu.tar"))
	const since = "docker inspect --format '{{.State.StartedAt}}' theirs"
	began := m.on(first, since)
	out := m.call(m.up()...)
	for _, want := range []string{"10.127.0.2: installed docker.io", "10.127.0.1: Docker Engine has live-restore, log-driver (", "ssh root@10.127.0.1 curl "} {
		if !strings.Contains(out, want) {
			t.Errorf("up does not say %q:\n%s", want, out)
		}
	}
	if now := m.on(first, since); now != began {
		t.Errorf("up restarted the operator's container: it runs since %s, not %s", now, began)
	}
	m.call("apply", "-f", manifests)
	m.openDoor()
	m.crawls()
	m.isClosed(usualPorts())
	m.refusesPages()
	m.refusesStrangers()
	m.rotates()
	if out := m.call("logs", "nginx-and-crawler/crawler", "--tail=50"); !strings.Contains(out, "Welcome to nginx") {
		t.Errorf("logs:\n%s", out)
	}

	if out := m.call("up", "--images="+builtImages); !strings.Contains(out, " 0 loaded now") || strings.Contains(out, "host 10.127.0.2: installed") || strings.Contains(out, "started") {
		t.Errorf("up again does something:\n%s", out)
	}
	for _, machine := range m.machines {
		if err := machine.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.crawls()
	m.isClosed(usualPorts())
	m.refusesAnotherKey()

	if out := m.call("down", "--yes"); !strings.Contains(out, "Not removed:\n  the hosts") {
		t.Errorf("down says:\n%s", out)
	}
	if got := strings.Join(strings.Fields(m.on(first, leftOnHost)), " "); got != `theirs theirs theirs { "debug": false, "log-opts": { "max-size": "5m" } }` {
		t.Errorf("left on a host with settings of its own: %s", got)
	}
	if got := m.on(second, leftOnHost); got != "" {
		t.Errorf("left on a host without: %s", got)
	}
	if out := m.call("down", "--yes"); out != "There is nothing of cluster cfgssh.\n" {
		t.Errorf("down again: %s", out)
	}
}

// refusesAnotherKey has the hosts show other keys than they did, as somebody in between would.
func (m *machines) refusesAnotherKey() {
	m.Helper()
	file := filepath.Join(m.home, ".config", "dokkaa", "cfgssh", "known_hosts")
	good, err := os.ReadFile(file)
	if err != nil {
		m.Fatal(err)
	}
	var bad strings.Builder
	for _, machine := range m.machines {
		fmt.Fprintf(&bad, "%s %s", machine.IP(), m.key) // of the right kind, but not the host's
	}
	if err := os.WriteFile(file, []byte(bad.String()), 0o600); err != nil {
		m.Fatal(err)
	}
	for _, command := range []string{"up", "status"} {
		code, out, errOut := call(m.T, append(m.flags, command)...)
		if code != 1 || !strings.Contains(errOut, "the host key of") || !strings.Contains(errOut, file) {
			m.Errorf("%s with other host keys: %d\n%s\n%s", command, code, out, errOut)
		}
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		m.Fatal(err)
	}
}
