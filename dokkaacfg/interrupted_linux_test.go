//go:build faults

package dokkaacfg

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/vhosttest"
)

// TestInterruptedUp kills up at random points, until it has come to its end: it always goes on from
// there, and makes what it would have made at once. Then hosts are lost and come back.
func TestInterruptedUp(t *testing.T) {
	program := filepath.Join(t.TempDir(), "dokkaacfg")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../cmd/dokkaacfg").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := newMachines(t, "cfgcut", "10.120.0.0/24", 3) // with a home of its own, where nothing is built yet
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	args := append(m.flags, m.up()...)
	for n := range 10 {
		after := time.Duration(random.Int64N(int64(12 * time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), after)
		out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
		killed := ctx.Err() != nil
		cancel()
		t.Logf("%d: killed after %s: %t", n, after.Round(time.Millisecond), killed)
		if err != nil && !killed {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	m.call("up", "--images="+builtImages)
	if out := m.call("up", "--images="+builtImages); !strings.Contains(out, " 0 loaded now") || strings.Contains(out, "installed") || strings.Contains(out, "started") || strings.Contains(out, "replaced") {
		t.Errorf("up again does something:\n%s", out)
	}
	for _, machine := range m.machines {
		const running = "docker ps --format '{{.Names}}' | grep -v dokkaa- | sort | xargs"
		if got := m.on(machine, running); got != "ambassador conductor etcd gateway skydns" {
			t.Errorf("host %s runs %s", machine.IP(), got)
		}
	}
	m.call("apply", "-f", manifests)
	m.openDoor()
	m.crawls()
	m.isClosed(vhosttest.AllPorts())

	// One host after the other, by a reboot of its own and by a power cut, then all at once.
	m.on(m.machines[0], "systemctl reboot --no-block")
	time.Sleep(2 * time.Second) // so that the crawl after the reboot is what is seen
	m.crawls()
	if err := m.machines[1].Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.crawls()
	for _, machine := range m.machines {
		if err := machine.PowerOff(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, machine := range m.machines {
		if err := machine.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.crawls()
	m.isClosed(usualPorts())

	// Killed while it takes the cluster down, it does so all the same.
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(3*time.Second))))
		_ = exec.CommandContext(ctx, program, append(m.flags, "down", "--yes")...).Run() // it was killed, or has done it
		cancel()
	}
	m.call("down", "--yes")
	for _, machine := range m.machines {
		if got := m.on(machine, leftOnHost); got != "" {
			t.Errorf("left on host %s: %s", machine.IP(), got)
		}
	}
	if files, err := os.ReadDir(filepath.Join(m.home, ".config", "dokkaa")); err != nil || len(files) > 0 {
		t.Errorf("left here: %v, %v", files, err)
	}
}
