//go:build linux

package vhost

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/vhosttest"
)

func TestNewRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no name":             {},
		"name too long":       {Name: "abcdefghijkl"},
		"hyphen":              {Name: "a-b"},
		"path in name":        {Name: "../x"},
		"IPv6":                {Name: "x", Subnet: netip.MustParsePrefix("fd00::/64")},
		"subnet too small":    {Name: "x", Subnet: netip.MustParsePrefix("10.9.0.0/25")},
		"the engines' subnet": {Name: "x", Subnet: netip.MustParsePrefix("172.29.1.0/24")},
	} {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			if _, err := New(o); err == nil {
				t.Errorf("New(%+v) accepted it", o)
			}
		})
	}
}

func TestLiveRestore(t *testing.T) {
	for _, without := range []bool{false, true} {
		c, err := New(Options{Name: "vhlive", Dir: t.TempDir(), NoLiveRestore: without})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Host(1).engineConfig().LiveRestore; got == without {
			t.Errorf("NoLiveRestore: %t, but live-restore is %t", without, got)
		}
	}
}

func TestSubnetIsRemembered(t *testing.T) {
	dir := t.TempDir()
	subnet := netip.MustParsePrefix("10.77.0.0/24")
	c, err := New(Options{Name: "vhname", Dir: dir, Subnet: subnet})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.writeSubnet(); err != nil {
		t.Fatal(err)
	}
	c, err = New(Options{Name: "vhname", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Host(2).IP().String(), "10.77.0.2"; got != want {
		t.Errorf("host 2 has %s, want %s", got, want)
	}
	if got, want := c.MachineIP().String(), "10.77.0.254"; got != want {
		t.Errorf("machine has %s, want %s", got, want)
	}
	if _, err := New(Options{Name: "vhname", Dir: dir, Subnet: netip.MustParsePrefix("10.78.0.0/24")}); err == nil {
		t.Error("another subnet for the same cluster was accepted")
	}
}

// newCluster returns a cluster of the test's own, which is taken down when the test ends.
func newCluster(t *testing.T, name, subnet string) *Cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("virtual hosts need root")
	}
	vhosttest.Claim(t, name)
	c, err := New(Options{
		Name: name, Subnet: netip.MustParsePrefix(subnet),
		Dir: filepath.Join(t.TempDir(), name), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	down(t, c) // after an earlier run that was killed
	t.Cleanup(func() { down(t, c) })
	return c
}

// down takes the cluster down and checks that nothing is left.
func down(t *testing.T, c *Cluster) {
	t.Helper()
	ctx := context.Background() // the test's own has ended
	if err := c.Down(ctx); err != nil {
		t.Errorf("Down: %v", err)
	}
	left, err := c.Leftovers(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, what := range left {
		t.Errorf("left behind: %s", what)
	}
}

func TestTwoHosts(t *testing.T) {
	c := newCluster(t, "vhtest", "10.102.0.0/24")
	ctx := t.Context()
	if err := c.Up(ctx, 2); err != nil {
		t.Fatal(err)
	}
	one, two := c.Host(1), c.Host(2)
	loadShell(t, one)

	t.Run("up again changes nothing", func(t *testing.T) {
		before := enginePid(t, one)
		if err := c.Up(ctx, 2); err != nil {
			t.Fatal(err)
		}
		if after := enginePid(t, one); before != after {
			t.Errorf("engine was process %d, is %d", before, after)
		}
	})

	serve(t, two, two.IP().String()+":7000")
	machine := func() error { return dialMachine(ctx, two.IP().String()+":7000") }
	peer := func() error { return dialFrom(ctx, one, two.IP().String()+":7000") }

	t.Run("hosts and machine reach a host", func(t *testing.T) {
		reaches(t, "machine", machine)
		reaches(t, "host 1", peer)
	})
	t.Run("only root reaches etcd from the machine", func(t *testing.T) {
		member := two.IP().String() + ":2379"
		serve(t, two, member)
		reaches(t, "host 1", func() error { return dialFrom(ctx, one, member) })
		reaches(t, "root", func() error { return dialMachine(ctx, member) })
		fails(t, "a browser", func() error { return dialAsNobody(ctx, member) })
		reaches(t, "a browser, to other ports", func() error { return dialAsNobody(ctx, two.IP().String()+":7000") })
	})
	t.Run("a host reaches the outside", func(t *testing.T) {
		outside, err := c.AddOutside(ctx, netip.MustParseAddr("198.51.100.77"))
		if err != nil {
			t.Fatal(err)
		}
		l, err := outside.Listen(ctx, "tcp", outside.Addr().String()+":80")
		if err != nil {
			t.Fatal(err)
		}
		accept(t, l)
		reaches(t, "host 1", func() error { return dialFrom(ctx, one, l.Addr().String()) })
	})
	t.Run("partition", func(t *testing.T) {
		for range 2 { // idempotent
			if err := one.Partition(ctx, two); err != nil {
				t.Fatal(err)
			}
		}
		fails(t, "host 1", peer)
		reaches(t, "machine", machine)
		for range 2 {
			if err := two.Heal(ctx); err != nil {
				t.Fatal(err)
			}
		}
		reaches(t, "host 1", peer)
	})
	t.Run("link down and up", func(t *testing.T) {
		if err := two.LinkDown(ctx); err != nil {
			t.Fatal(err)
		}
		fails(t, "machine", machine)
		if err := two.LinkUp(ctx); err != nil {
			t.Fatal(err)
		}
		reaches(t, "machine", machine)
	})
	t.Run("limits of a container hold", func(t *testing.T) {
		docker(t, one, "run", "-d", "--name", "limited", "--memory", "64m", "--cpus", "0.5", "shell", "/bin/sh", "-c", "while :; do :; done")
		if got := docker(t, one, "inspect", "-f", "{{.State.Running}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", "limited"); got != "true 67108864 500000000" {
			t.Errorf("inspect says %q", got)
		}
		checkLimits(t, one, docker(t, one, "inspect", "-f", "{{.Id}}", "limited"))
		docker(t, one, "rm", "-f", "limited")
	})
	t.Run("the socket in a container outlives the engine", func(t *testing.T) { testSocket(t, one) })
	t.Run("a paused engine does not answer", func(t *testing.T) {
		if err := one.PauseDocker(); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if one.ping(short) == nil {
			t.Error("it answers")
		}
		if err := one.ResumeDocker(); err != nil {
			t.Fatal(err)
		}
		if err := one.ping(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("power off and on", func(t *testing.T) { testPower(t, one) })
}

func testSocket(t *testing.T, h *Host) {
	docker(t, h, "run", "-d", "--name", "living", "-v", "/var/run/docker.sock:/var/run/docker.sock", "shell", "/bin/sleep", "1000")
	pid := docker(t, h, "inspect", "-f", "{{.State.Pid}}", "living")
	for range 2 {
		if err := h.KillDocker(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if pids, err := h.dockerPids(); err != nil || len(pids) > 0 {
		t.Fatalf("engine is still there: %v, %v", pids, err)
	}
	if err := h.StartDocker(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := docker(t, h, "inspect", "-f", "{{.State.Pid}}", "living"); got != pid {
		t.Errorf("container is process %s, was %s", got, pid)
	}
	conn, err := net.Dial("unix", filepath.Join("/proc", pid, "root/var/run/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /_ping HTTP/1.0\r\n\r\n")
	if reply, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(reply), "OK") {
		t.Errorf("engine says %q, %v to the container", reply, err)
	}
	docker(t, h, "rm", "-f", "living")
}

func testPower(t *testing.T, h *Host) {
	docker(t, h, "run", "-d", "--restart", "always", "--name", "always", "shell", "/bin/sleep", "1000")
	docker(t, h, "run", "-d", "--name", "once", "shell", "/bin/sleep", "1000")
	for range 2 {
		if err := h.PowerOff(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if pids, err := h.cgroup().pids(); err != nil || len(pids) > 0 {
		t.Errorf("processes live on: %v, %v", pids, err)
	}
	fails(t, "machine", func() error { return dialMachine(t.Context(), h.IP().String()+":1") })
	for range 2 {
		if err := h.PowerOn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "restart policy", func() error {
		if got := docker(t, h, "ps", "--format", "{{.Names}}"); got != "always" {
			return fmt.Errorf("running: %q", got)
		}
		return nil
	})
	if got := docker(t, h, "inspect", "-f", "{{.State.Running}}", "once"); got != "false" {
		t.Errorf("a container without restart policy runs: %s", got)
	}
}

// TestDownAfterCrash kills a process in the middle of Up, as early and as late as it comes, and
// checks that another process finds and removes all of it.
func TestDownAfterCrash(t *testing.T) {
	if dir := os.Getenv("VHOST_TEST_UP"); dir != "" {
		c, err := New(Options{Name: "vhcrash", Subnet: netip.MustParsePrefix("10.103.0.0/24"), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Up(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		select {} // until it is killed
	}
	for _, after := range []time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			c := newCluster(t, "vhcrash", "10.103.0.0/24")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDownAfterCrash$")
			cmd.Env = append(os.Environ(), "VHOST_TEST_UP="+c.Dir())
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			cmd.WaitDelay = time.Second // what it started may hold its output open
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
			defer timer.Stop()
			if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Errorf("process was to be killed and ended with %v: %s", err, &out)
			}
			down(t, c)
			down(t, c)
		})
	}
}
