package agent

import (
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	// settled is how long an instance must run for its failures to be forgotten.
	settled = 30 * time.Second
	// slowStart is how long a started instance may be unprobed before that is published, so that a
	// restart of the conductor does not announce every instance as not healthy for a moment.
	slowStart = 2 * time.Second
)

// memory is what the agent knows about an instance that neither Docker nor the store tells.
type memory struct {
	busy        bool
	withdrawing bool   // its records are to go: it is being removed
	draining    string // whom its end waits for, "" for nobody
	pulling     bool
	failures    int // in a row
	restarts    int
	notBefore   time.Time
	reason      string // why the last try failed or the container ended

	mishap mishap // of the last Remove or Rename

	running  bool // when last looked at
	since    time.Time
	detached time.Time // since when it runs without an address on the network, zero if it has one

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

// notice takes in how the containers are: an end counts as a failure, a long run as none. It
// returns those that ended since it looked last.
func (a *Agent) notice(now time.Time) (ended []engine.Container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.containers {
		m := a.recall(c.Instance)
		running := c.Status == engine.StatusRunning
		switch {
		case running && !m.running:
			m.since = now
		case running && now.Sub(m.since) > settled:
			m.failures, m.reason = 0, ""
		case c.Status == engine.StatusExited && m.running:
			if now.Sub(m.since) > settled { // and nobody looked since it had
				m.failures = 0
			}
			m.failures++
			if reason := exitReason(c); !strings.HasPrefix(m.reason, reason) { // which may say more
				m.reason = reason
			}
			m.notBefore = now.Add(backoff(m.failures))
			ended = append(ended, c)
		}
		m.running = running
		switch {
		case !running || c.Addr.IsValid():
			m.detached = time.Time{}
		case m.detached.IsZero():
			m.detached = now
		}
	}
	return ended
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
		all[id] = Memory{Busy: m.busy || busy[id], NotBefore: m.notBefore,
			Failed: m.mishap.kind, RetryAfter: m.mishap.retry, Detached: m.detached}
	}
	return all
}

func (a *Agent) restarts(instance string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.recall(instance).restarts
}

func (a *Agent) withdrawing(instance string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.recall(instance).withdrawing
}

// slowAt is when the first probe of a running instance should have ended; zero if it does not run.
func (a *Agent) slowAt(d Desired) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.recall(d.Instance)
	switch {
	case !m.running:
		return time.Time{}
	case !m.detached.IsZero():
		return m.detached.Add(detachedPatience)
	case len(d.Ports) == 0:
		return m.since.Add(slowStart + probeSteady)
	}
	return m.since.Add(slowStart)
}

// slow tells whether an instance runs for so long.
func (a *Agent) slow(d Desired, now time.Time) bool {
	at := a.slowAt(d)
	return !at.IsZero() && !now.Before(at)
}

// observe is the state to publish of an instance that is wanted here; unannounced is why a service
// of it cannot be announced.
func (a *Agent) observe(d Desired, c engine.Container, exists bool, unannounced string, now time.Time) (state.Observed, Health) {
	health, probed := a.prober.health(d.Instance)
	o := state.Observed{Ref: d.Ref, Slot: d.Slot, Revision: d.Revision}
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.recall(d.Instance)
	o.Restarts = m.restarts
	switch {
	case exists && c.Status == engine.StatusRunning && health == Healthy && unannounced != "":
		o.Phase, o.Reason = state.PhaseRunning, unannounced
	case exists && c.Status == engine.StatusRunning && health == Healthy:
		o.Phase, o.Reason = state.PhaseHealthy, orElse(d.Invalid, m.mishap.text(now))
		o.Ports = map[string]int{}
		for _, name := range d.serviceNames() {
			o.Ports[name] = c.Ports[d.Services[name].Port]
		}
	case exists && c.Status == engine.StatusRunning && !c.Addr.IsValid():
		o.Phase, o.Reason = state.PhaseRunning, orElse(m.mishap.text(now), ReasonDetached)
	case exists && c.Status == engine.StatusRunning:
		o.Phase, o.Reason = state.PhaseRunning, orElse(probed, d.Invalid)
	case exists && c.Status == engine.StatusPaused:
		o.Phase, o.Reason = state.PhaseFailed, "paused by hand"
	case d.Invalid != "":
		o.Phase, o.Reason = state.PhaseFailed, d.Invalid
	case m.failures > 0:
		o.Phase, o.Reason = state.PhaseFailed, m.reason
	case m.pulling:
		o.Phase, o.Reason = state.PhasePulling, "image "+d.Image
	default:
		o.Phase = state.PhaseStarting
	}
	o.Since = m.stamp(o.Phase, now)
	return o, health
}

// observeOutgoing is the state to publish of an instance that is no longer wanted here.
func (a *Agent) observeOutgoing(c engine.Container, now time.Time) state.Observed {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.recall(c.Instance)
	return state.Observed{Ref: c.Ref, Slot: c.Slot, Revision: c.Revision, Phase: state.PhaseStopping,
		Reason: orElse(m.mishap.text(now), orElse(m.draining, m.reason)), Restarts: m.restarts, Since: m.stamp(state.PhaseStopping, now)}
}

// stamp is when the instance came into the phase.
func (m *memory) stamp(phase state.Phase, now time.Time) time.Time {
	if m.phase != phase {
		m.phase, m.phaseSince = phase, now.UTC().Truncate(time.Second)
	}
	return m.phaseSince
}
