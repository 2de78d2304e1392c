//go:build faults

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// The rows of this file break something while an update of web is under way and others use it. Who
// does so is on host 1, which nothing happens to but that its conductor may be killed.

var web = state.Ref{App: "dummy", Name: "web"}

// update begins an update of web. It returns the revision before.
func (c *cluster) update(scale int) (before int) {
	c.t.Helper()
	s, err := c.status(1, "web")
	if err != nil {
		c.t.Fatal(err)
	}
	c.web(scale, fmt.Sprintf(`"env": {"VERSION": "%d"},`, time.Now().UnixNano()))
	return s.Revision
}

// updated waits until an update has ended well: all instances are of the new revision.
func (c *cluster) updated(stated time.Duration, scale, before int) {
	c.t.Helper()
	c.eventually(stated, "the update has ended", func() error {
		s, err := c.status(1, "web")
		if err != nil {
			return err
		}
		if s.State != schedule.StateRunning || s.Healthy != scale || s.Revision <= before || s.Reason != "" {
			return fmt.Errorf("status %+v", s)
		}
		for _, slot := range s.Slots {
			if slot.Revision != s.Revision {
				return fmt.Errorf("status %+v", s)
			}
		}
		return nil
	})
}

// victim is a host that something may happen to, if possible the scheduler's.
func (c *cluster) victim() int {
	c.t.Helper()
	if host := c.schedulerHost(); host != 1 {
		return host
	}
	return c.scale
}

// stage is a step of the replacement of a slot's instance.
type stage string

const (
	nextAssigned stage = "next assigned"
	nextRunning  stage = "next running"
	nextHealthy  stage = "next healthy"
	nextPromoted stage = "next promoted"
	oldDraining  stage = "old draining"
	oldStopping  stage = "old stopping"
)

var stages = []stage{nextAssigned, nextRunning, nextHealthy, nextPromoted, oldDraining, oldStopping}

// reached tells whether the replacement of a former instance is at the stage, or beyond.
func (s stage) reached(h *history, d *deeds, slot int, former string) bool {
	now := h.slots[web][slot]
	next := now.Next
	if promoted := now.Current != nil && now.Current.Instance != former; promoted {
		next = now.Current
	}
	if next == nil {
		return false
	}
	switch s {
	case nextAssigned:
		return true
	case nextRunning:
		return d.did("start", next.Instance)
	case nextHealthy:
		return h.observed[next.Instance].Phase == state.PhaseHealthy
	case nextPromoted:
		return now.Current == next
	case oldDraining:
		return h.observed[former].Phase == state.PhaseStopping
	case oldStopping:
		return d.did("kill", former)
	}
	return false
}

// killsConductorsAt has an update of two instances. At a stage of the first one the conductor of its
// host is killed, at that of the second one the scheduler's.
func (c *cluster) killsConductorsAt(s stage, j *journal) {
	former := map[int]string{}
	for _, slot := range c.settledWeb(2).Slots {
		former[slot.Slot] = slot.Instance
	}
	d := c.deeds()
	conductors := c.pids("conductor")
	scheduler := c.schedulerHost()
	before := c.update(2)
	for slot := 1; slot <= 2; slot++ {
		start := time.Now()
		for !j.sees(func(h *history) bool { return s.reached(h, d, slot, former[slot]) }) {
			if time.Since(start) > time.Minute {
				c.t.Fatalf("slot %d: no %s", slot, s)
			}
			time.Sleep(time.Millisecond)
		}
		host := scheduler
		if slot == 1 {
			j.sees(func(h *history) bool { host = c.hostOf(h, s, slot, former[slot]); return true })
		}
		c.t.Logf("slot %d: %s: kill the conductor of host %d", slot, s, host)
		c.killProcess(host, "conductor", conductors[host])
		conductors, scheduler = c.pids("conductor"), c.schedulerHost()
	}
	c.updated(60*time.Second, 2, before)
}

// hostOf is the host where a stage of a replacement is.
func (c *cluster) hostOf(h *history, s stage, slot int, former string) int {
	ip := h.observed[former].host
	if now := h.slots[web][slot]; s != oldDraining && s != oldStopping {
		if ip = now.Current.Host; now.Next != nil {
			ip = now.Next.Host
		}
	}
	for n := 1; n <= c.scale; n++ {
		if c.ip(n) == ip {
			return n
		}
	}
	c.t.Fatalf("slot %d is on host %q", slot, ip)
	return 0
}

// settledWeb scales web, and waits until all is as it should be.
func (c *cluster) settledWeb(scale int) (s state.Status) {
	c.t.Helper()
	if s, err := c.status(1, "web"); err != nil || s.Wanted != scale {
		c.web(scale, "")
	}
	c.calm(60 * time.Second)
	s, err := c.status(1, "web")
	if err != nil || s.Healthy != scale {
		c.t.Fatalf("status %+v, err %v", s, err)
	}
	return s
}

// pids are the processes of a daemon, by host.
func (c *cluster) pids(daemon string) map[int]int {
	c.t.Helper()
	all := map[int]int{}
	for n := 1; n <= c.scale; n++ {
		all[n] = c.daemonPid(n, daemon)
	}
	return all
}

// deeds is what the Engines of all hosts do to instances.
type deeds struct {
	mu   sync.Mutex
	done map[string]bool
}

// deeds begins to follow the Engines, until the test ends.
func (c *cluster) deeds() *deeds {
	c.t.Helper()
	d := &deeds{done: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	var followed sync.WaitGroup
	c.t.Cleanup(func() { cancel(); followed.Wait() })
	for n := 1; n <= c.scale; n++ {
		cmd := exec.CommandContext(ctx, "docker", "-H", c.hosts.Host(n).DockerHost(), "events", "--since", time.Now().Format(time.RFC3339Nano),
			"--filter", "label=dokkaa.instance", "--format", `{{.Action}} {{index .Actor.Attributes "dokkaa.instance"}}`)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			c.t.Fatal(err)
		}
		followed.Go(func() {
			for lines := bufio.NewScanner(out); lines.Scan(); {
				d.mu.Lock()
				d.done[strings.TrimSpace(lines.Text())] = true
				d.mu.Unlock()
			}
			_ = cmd.Wait() // it was killed
		})
	}
	return d
}

// did tells whether something was done to an instance, in Docker's words.
func (d *deeds) did(action, instance string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done[action+" "+instance]
}

// updatesWithoutHost begins an update, takes a host from the others in the middle, and holds that
// the update ends without it.
func (c *cluster) updatesWithoutHost(host int, j *journal, take func() error) {
	c.settledWeb(3)
	before := c.update(3)
	c.underWay(j)
	c.t.Logf("host %d is taken away", host)
	if err := take(); err != nil {
		c.t.Fatal(err)
	}
	c.aside = host
	c.updated(45*time.Second, 3, before)
}

// underWay waits until an update has begun to change slots.
func (c *cluster) underWay(j *journal) {
	c.t.Helper()
	c.eventually(10*time.Second, "the update is under way", func() error {
		if !j.sees(func(h *history) bool {
			for _, s := range h.slots[web] {
				if s.Next != nil {
					return true
				}
			}
			return false
		}) {
			return fmt.Errorf("no slot changes")
		}
		return nil
	})
}

// survivesDyingSchedulers kills the scheduler every five seconds until an update has ended.
func (c *cluster) survivesDyingSchedulers(j *journal) {
	c.settledWeb(5)
	before := c.update(5)
	c.underWay(j)
	for start := time.Now(); ; {
		next := time.Now().Add(5 * time.Second)
		if s, err := c.status(1, "web"); err == nil && s.State == schedule.StateRunning && s.Revision > before {
			break
		}
		if time.Since(start) > 4*time.Minute {
			c.t.Fatal("the update does not end")
		}
		host := c.schedulerHost()
		c.t.Logf("kill the scheduler on host %d", host)
		c.kill(host, "conductor")
		pause(time.Until(next))
	}
	c.updated(5*time.Second, 5, before)
}

// failsWithDyingSchedulers kills the scheduler every few seconds until an update has failed for a reason,
// which is said in the status, and web is as it was before.
func (c *cluster) failsWithDyingSchedulers(fields, why string) {
	c.settledWeb(3)
	before := c.instances("web")
	s, err := c.status(1, "web")
	if err != nil {
		c.t.Fatal(err)
	}
	c.web(3, fmt.Sprintf(`"env": {"VERSION": "%d"}, `, time.Now().UnixNano())+fields)
	pause(time.Second)
	for start := time.Now(); ; {
		next := time.Now().Add(6 * time.Second)
		now, err := c.status(1, "web")
		if err == nil && now.State == schedule.StateRunning && strings.Contains(now.Reason, "failed: ") && strings.Contains(now.Reason, why) {
			break
		}
		if time.Since(start) > 3*time.Minute {
			c.t.Fatalf("the update does not fail: status %+v, err %v", now, err)
		}
		host := c.schedulerHost()
		c.t.Logf("kill the scheduler on host %d", host)
		c.kill(host, "conductor")
		pause(time.Until(next))
	}
	c.saysWhyFailed(before, c.settled(10*time.Second, 3, s.Revision))
}
