//go:build faults

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
)

// pid is the first process of a container.
func (c *cluster) pid(host int, container string) (pid int, err error) {
	out, err := c.docker(host, "inspect", "-f", "{{.State.Pid}}", container)
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscan(out, &pid); err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s on host %d has process %q", container, host, out)
	}
	return pid, nil
}

func (c *cluster) signal(host int, daemon string, sig syscall.Signal) error {
	pid, err := c.pid(host, daemon)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, sig)
}

// stop stops a daemon without ending it; goOn ends that, also if the test fails before.
func (c *cluster) stop(host int, daemon string) (goOn func()) {
	c.t.Helper()
	if err := c.signal(host, daemon, syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	t := c.t
	goOn = func() {
		if err := c.signal(host, daemon, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(goOn)
	return goOn
}

// survivesShortPause: a conductor that is back within its lease loses nothing, be it the scheduler.
func (c *cluster) survivesShortPause() {
	before := c.instances("")
	for host := 1; host <= c.scale; host++ {
		goOn := c.stop(host, "conductor")
		pause(5 * time.Second)
		goOn()
		pause(5 * time.Second)
		c.untouched(before)
	}
	c.calm(15 * time.Second)
	c.untouched(before)
}

// survivesLongPause: a conductor that stays away longer than its lease counts as a lost host. When
// it wakes up it finds that out before it does anything.
func (c *cluster) survivesLongPause(host int) {
	before := without(c.instances(""), host)
	goOn := c.stop(host, "conductor")
	start := time.Now()
	c.eventually(15*time.Second, "nginx is healthy on another host", func() error {
		s, err := c.status(host%c.scale+1, "nginx")
		if err == nil && (len(s.Slots) != 1 || s.Slots[0].Host == c.ip(host) || s.Slots[0].Phase != "healthy") {
			err = fmt.Errorf("status %+v", s)
		}
		return err
	})
	c.crawls(5*time.Second, "with the conductor stopped")
	pause(30*time.Second - time.Since(start))
	goOn()
	c.calm(20 * time.Second)
	if c.one("nginx").host == host {
		c.t.Error("nginx moved back")
	}
	c.untouched(before, "nginx", "bystander")
}

// survivesKillsDuringChanges kills a conductor at a random moment of an update and of a removal.
func (c *cluster) survivesKillsDuringChanges() {
	before := without(c.instances(""), 0, "nginx")
	for round := range 10 {
		c.put(1, "nginx", withRound(round))
		c.killConductor(round, []time.Duration{time.Second, 8 * time.Second}[round%2]) // between the first steps, or anywhere
		c.eventually(30*time.Second, fmt.Sprintf("round %d: updated", round), func() error {
			if len(c.instances("nginx")) == 0 && round > 0 {
				c.t.Fatal("nothing runs during the update")
			}
			return c.runsRound(round, 2)
		})
		c.calm(30 * time.Second)
		if round%2 == 0 {
			continue
		}
		c.remove(1, "nginx")
		c.killConductor(round/2, 6*time.Second)
		c.gone(30*time.Second, "nginx")
		c.put(1, "nginx", withRound(round))
		c.healthy(20*time.Second, "nginx", 2)
	}
	c.put(1, "nginx", c.manifest("nginx"))
	c.calm(60 * time.Second)
	c.untouched(before, "nginx")
}

func withRound(round int) string {
	return fmt.Sprintf(`{"image": "dockerfile/nginx", "scale": 2, "env": {"ROUND": "%d"}, "services": {"nginx": 80}}`, round)
}

// killConductor kills a conductor that has work to do: in turn that of a host with nginx and the
// scheduler's.
func (c *cluster) killConductor(turn int, within time.Duration) {
	c.t.Helper()
	host := c.schedulerHost()
	if nginx := c.instances("nginx"); turn%2 == 0 && len(nginx) > 0 {
		host = nginx[rand.IntN(len(nginx))].host
	}
	moment := rand.N(within)
	pause(moment)
	c.t.Logf("kill the conductor of host %d after %s", host, moment.Round(time.Millisecond))
	c.kill(host, "conductor")
}

// runsRound: as many instances as wanted, and all of the round's manifest.
func (c *cluster) runsRound(round, want int) error {
	all := c.instances("nginx")
	if len(all) != want {
		return fmt.Errorf("nginx runs as %+v", all)
	}
	for _, i := range all {
		env, err := c.docker(i.host, "inspect", "-f", "{{.Config.Env}}", i.id)
		if err != nil {
			return err
		}
		if !strings.Contains(env, fmt.Sprintf("ROUND=%d", round)) {
			return fmt.Errorf("%+v has %s", i, env)
		}
	}
	return nil
}

// endsAtTheLastManifest: of many manifests in a row, the last one counts.
func (c *cluster) endsAtTheLastManifest() {
	before := without(c.instances(""), 0, "nginx")
	start := time.Now()
	for round := 1; round <= 100; round++ {
		c.put(round%c.scale+1, "nginx", strings.Replace(withRound(round), `"scale": 2`, `"scale": 1`, 1))
	}
	c.t.Logf("100 PUTs took %s", time.Since(start).Round(10*time.Millisecond))
	c.eventually(30*time.Second, "the last manifest runs", func() error {
		s, err := c.status(1, "nginx")
		if err == nil && s.State != schedule.StateRunning {
			err = errors.New("status " + s.State)
		}
		if err != nil {
			return err
		}
		return c.runsRound(100, 1)
	})
	c.calm(20 * time.Second)
	c.put(1, "nginx", c.manifest("nginx"))
	c.calm(30 * time.Second)
	c.untouched(before, "nginx")
}

// survivesBusyHost: a container takes all of a host's CPU, and thus the machine's. No host counts as
// lost for that, and nothing moves.
func (c *cluster) survivesBusyHost(host int, j *journal) {
	c.settledWeb(3)
	before := c.instances("")
	losses := 0
	j.sees(func(h *history) bool { losses = h.losses; return true })
	c.mustDocker(host, "run", "-d", "--rm", "--name", burner, "--network", "none", "--cpu-shares", "8192", "dockerfile/ubuntu",
		"/bin/bash", "-c", "for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; sleep 25; kill $(jobs -p)")
	pause(27 * time.Second)
	_, _ = c.docker(host, "rm", "-f", burner) // unless it has ended
	c.calm(20 * time.Second)
	c.untouched(before)
	j.sees(func(h *history) bool {
		if h.losses > losses {
			c.t.Errorf("%d leases ended", h.losses-losses)
		}
		return true
	})
}

const burner = "e2e-burner"
