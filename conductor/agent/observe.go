package agent

import (
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// observe is the state to publish of an instance that is wanted here; unannounced is why a service
// of it cannot be announced.
func (a *Agent) observe(d Desired, c engine.Container, exists bool, unannounced string, now time.Time) (state.Observed, Health) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.recall(d.Instance)
	v := a.verdict(c)
	o := state.Observed{Ref: d.Ref, Slot: d.Slot, Revision: d.Revision, Restarts: m.restarts, ExitCode: m.exit, Log: m.log}
	running := exists && c.Status == engine.StatusRunning
	switch {
	case running && v.Health == Healthy && unannounced != "":
		o.Phase, o.Reason = state.PhaseRunning, unannounced
	case running && v.Health == Healthy:
		o.Phase, o.Reason = state.PhaseHealthy, orElse(d.Invalid, m.mishap.text(now))
		o.Steady = !now.Before(v.Since.Add(d.minHealthyTime()))
		o.Ports = map[string]int{}
		for _, name := range d.serviceNames() {
			o.Ports[name] = c.Ports[portOf(d.Services[name])]
		}
	case running && !c.Addr.IsValid():
		o.Phase, o.Reason = state.PhaseRunning, orElse(m.mishap.text(now), ReasonDetached)
	case running:
		o.Phase, o.Reason = state.PhaseRunning, orElse(v.Reason, d.Invalid)
	case exists && c.Status == engine.StatusPaused:
		o.Phase, o.Reason = state.PhaseFailed, "paused by hand"
	case m.over != "" && d.job() && m.exit != nil:
		o.Phase, o.Reason = state.PhaseEnded, m.reason
	case d.Invalid != "":
		o.Phase, o.Reason = state.PhaseFailed, d.Invalid
	case m.failures > 0:
		o.Phase, o.Reason = state.PhaseFailed, m.reason
	case m.pulling:
		o.Phase, o.Reason = state.PhasePulling, "image "+d.Image
	case m.halted:
		o.Phase, o.Reason = state.PhaseStarting, ReasonFenced
	default:
		o.Phase = state.PhaseStarting
	}
	if o.Phase != state.PhaseHealthy && o.Phase != state.PhaseEnded {
		o.GaveUp, o.Reason = m.gaveUp(d, o.Reason, now)
	}
	o.Since = m.stamp(o.Phase, now)
	return o, v.Health
}

// gaveUp tells whether the instance, which is not healthy for this reason, is not expected to
// become so, and adds why. It may be tried on all the same.
func (m *memory) gaveUp(d Desired, reason string, now time.Time) (bool, string) {
	switch at := m.deadline(d); {
	case m.over != "":
		return true, joinClauses(reason, m.over)
	case !at.IsZero() && !now.Before(at):
		return true, joinReasons("not healthy within "+short(d.healthyDeadline()), reason)
	}
	return m.noImage, reason
}

func joinClauses(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return fmt.Sprintf("%s; %s", a, b)
}

// deadline is when the instance should have been healthy, zero if it was, or need not be.
func (m *memory) deadline(d Desired) time.Time {
	if m.healthy || m.assigned.IsZero() || d.job() {
		return time.Time{}
	}
	return m.assigned.Add(d.healthyDeadline())
}

func (d Desired) healthyDeadline() time.Duration {
	if d.Manifest == nil {
		return manifest.DefaultHealthyDeadline.Of()
	}
	return d.Manifest.Update.HealthyDeadline.Of()
}

func (d Desired) minHealthyTime() time.Duration {
	if d.Manifest == nil {
		return manifest.DefaultMinHealthyTime.Of()
	}
	return d.Manifest.Update.MinHealthyTime.Of()
}

// verdict is that of the checks on this run of a container; a.mu must be held.
func (a *Agent) verdict(c engine.Container) Verdict {
	return a.prober.verdict(c.Instance, c.ID, a.recall(c.Instance).restarts)
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

// slowAt is when the first probe of a running instance should have ended; zero if it does not run.
func (m *memory) slowAt(d Desired) time.Time {
	switch {
	case !m.running:
		return time.Time{}
	case !m.detached.IsZero():
		return m.detached.Add(detachedPatience)
	case len(tcp(d.Ports)) == 0 && (d.Manifest == nil || len(d.Manifest.Checks) == 0):
		return m.since.Add(slowStart + probeSteady)
	}
	return m.since.Add(slowStart)
}

// slow tells whether an instance runs for so long.
func (a *Agent) slow(d Desired, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.recall(d.Instance).slowAt(d)
	return !at.IsZero() && !now.Before(at)
}

// changes is when the state to publish of an instance is another because time has passed, zero if
// that is not to come.
func (a *Agent) changes(d Desired, c engine.Container, now time.Time) (next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, v := a.recall(d.Instance), a.verdict(c)
	dates := []time.Time{m.slowAt(d), m.deadline(d)}
	if v.Health == Healthy {
		dates = append(dates, v.Since.Add(d.minHealthyTime()))
	}
	for _, at := range dates {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// explaining tells whether it is still being found out how the instance ended.
func (a *Agent) explaining(instance string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.recall(instance).explaining
}
