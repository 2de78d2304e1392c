package agent

import (
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// slowStart is how long a started instance may be unprobed before that is published, so that a
// restart of the conductor does not announce every instance as not healthy for a moment.
const slowStart = 2 * time.Second

// overDone is why a job that ended well is not started any more.
const overDone = "it has ended"

// memory is what the agent knows about an instance that neither Docker nor the store tells.
type memory struct {
	busy        bool
	withdrawing bool   // its records are to go: it is being removed, or restarted while it runs
	halted      bool   // it is being stopped, or was, for the host's lease is not renewed
	draining    string // whom its end waits for, "" for nobody
	pulling     bool
	explaining  bool // it is being found out how it ended

	assigned time.Time // when this conductor first had it
	healthy  bool      // it was, once

	failures  int         // in a row
	restarts  int         // ever
	restarted []time.Time // when, as far as the policy looks back
	notBefore time.Time
	reason    string           // why the last try failed, the container ended, or is to be restarted
	noImage   bool             // and that is, that there surely is no such image
	over      string           // why it is not started any more, "" if it is
	policy    manifest.Restart // by which that was found

	exit *int     // code that it ended with last
	log  []string // and its last lines

	mishap mishap // of the last Remove or Rename

	seen      bool // its container was
	found     bool // and ran already
	running   bool // when last looked at
	judged    bool // that it ended was taken in
	unhealthy bool // that it is to be restarted was taken in
	fails     bool // and still is so
	since     time.Time
	detached  time.Time // since when it runs without an address on the network, zero if it has one

	phase      state.Phase // as last published
	phaseSince time.Time
}

// mishap is that a Remove or Rename failed: what runs goes on to, but is not as it should be.
type mishap struct {
	kind     Kind
	failures int // in a row
	retry    time.Time
	reason   string
}

// text is the mishap's reason, "" if there was none or it is past: nothing was tried again.
func (m mishap) text(now time.Time) string {
	if m.failures == 0 || now.After(m.retry.Add(resync)) {
		return ""
	}
	return m.reason
}

// recall finds or makes an instance's memory; a.mu must be held.
func (a *Agent) recall(instance string) *memory {
	m, ok := a.memory[instance]
	if !ok {
		m = &memory{}
		a.memory[instance] = m
	}
	return m
}

// notice takes in what is wanted and how the containers are: that one ended, or is unhealthy, counts
// as a failure, a long run as none. It returns those that ended since it looked last.
func (a *Agent) notice(want map[string]Desired, now time.Time) (ended []engine.Container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range want {
		if m := a.recall(id); m.assigned.IsZero() {
			m.assigned = now
		}
	}
	for _, c := range a.containers {
		m, v := a.recall(c.Instance), a.verdict(c)
		d, wanted := want[c.Instance]
		running := c.Status == engine.StatusRunning
		switch {
		case running:
			if !m.running {
				m.begin(now)
				m.found = !m.seen
			}
			m.review(d, v, now)
		case c.Status == engine.StatusExited && m.halted: // not by itself
		case c.Status == engine.StatusExited && !m.seen && d.cutShort(c):
			m.judged = true // to be run again, as on another host
		case c.Status == engine.StatusExited && m.ends(wanted && d.job()):
			if v.Health == Healthy && now.Sub(m.since) > settled { // and nobody looked since it had
				m.failures = 0
			}
			m.end(d, c, now)
			ended = append(ended, c)
		}
		m.reconsider(d, wanted, now)
		m.running, m.seen = running, true
		switch {
		case !running || c.Addr.IsValid():
			m.detached = time.Time{}
		case m.detached.IsZero():
			m.detached = now
		}
	}
	return ended
}

// begin takes in that the container was started.
func (m *memory) begin(now time.Time) {
	m.running, m.halted, m.since = true, false, now
	m.found, m.judged, m.unhealthy, m.fails, m.noImage, m.over = false, false, false, false, false, ""
}

// review takes in the verdict on a container that runs.
func (m *memory) review(d Desired, v Verdict, now time.Time) {
	m.fails = v.Health == Unhealthy && v.Restart && d.Invalid == "" && !d.job() // which runs to its end
	switch {
	case v.Health == Healthy:
		m.healthy, m.unhealthy, m.over = true, false, ""
		if now.Sub(m.since) > settled {
			m.failures, m.reason, m.log = 0, "", nil
		}
	case m.fails && !m.unhealthy && !m.busy:
		m.unhealthy = true
		m.fail(d.policy(), "unhealthy: "+v.Reason, 0, now)
	}
}

// ends tells whether that the container has exited is to be taken in. Of a job that is so also when
// nobody saw it run, but not of others: what this conductor finds ended is just started.
func (m *memory) ends(job bool) bool {
	return m.running && !m.withdrawing || job && !m.judged
}

// end takes in that the container has exited.
func (m *memory) end(d Desired, c engine.Container, now time.Time) {
	m.judged, m.log = true, nil
	m.exit = exitStatus(c)
	if d.job() && m.exit != nil && *m.exit == 0 {
		m.reason, m.over = "", overDone
		return
	}
	reason := exitReason(c)
	if strings.HasPrefix(m.reason, reason) { // and says more
		reason = m.reason
	}
	m.fail(d.policy(), reason, 0, now)
}

// fail takes in one more failure, which the policy counts as so many more.
func (m *memory) fail(p manifest.Restart, reason string, more int, now time.Time) {
	m.failures++
	m.reason, m.policy = reason, p
	m.notBefore, m.over = restartAt(p, m.failures+more, m.restarted, now)
}

// reconsider takes in that the policy is another by which the instance is not started any more.
func (m *memory) reconsider(d Desired, wanted bool, now time.Time) {
	if p := d.policy(); wanted && m.over != "" && m.over != overDone && p != m.policy {
		m.policy = p
		m.notBefore, m.over = restartAt(p, m.failures, m.restarted, now)
	}
}

// busy are the instances that an action is under way for.
func (a *Agent) busy() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string]bool{}
	for id, m := range a.memory {
		if m.busy {
			all[id] = true
		}
	}
	return all
}

// memories is what a plan needs; busy are instances that count as busy beside those that are.
func (a *Agent) memories(busy map[string]bool) map[string]Memory {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string]Memory, len(a.memory))
	for id, m := range a.memory {
		memory := Memory{Halted: m.halted, Busy: m.busy || busy[id], NotBefore: m.notBefore,
			Over: m.over != "", Failed: m.mishap.kind, RetryAfter: m.mishap.retry, Detached: m.detached}
		if m.unhealthy && m.fails {
			memory.Unhealthy = m.reason
		}
		all[id] = memory
	}
	return all
}

func (a *Agent) withdrawing(instance string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.recall(instance).withdrawing
}
