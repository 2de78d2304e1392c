package agent

import (
	"fmt"
	"time"
)

// fail takes in that an action failed; what failed just now is not tried at once.
func (m *memory) fail(action Action, err error, now time.Time) {
	switch action.Kind {
	case Run, Restart:
		m.failures++
		m.reason = err.Error()
		m.notBefore = now.Add(backoff(m.failures + 1))
		return
	case Rename:
		m.mishap.reason = fmt.Sprintf("cannot be renamed to %s: %v", action.Name, err)
	case Remove:
		m.mishap.reason = fmt.Sprintf("cannot be removed: %v", err)
	}
	if m.mishap.kind != action.Kind {
		m.mishap.kind, m.mishap.failures = action.Kind, 0
	}
	m.mishap.failures++
	m.mishap.retry = now.Add(backoff(m.mishap.failures + 1))
}

// succeed takes in that an action was carried out.
func (m *memory) succeed(action Action, now time.Time) {
	switch action.Kind {
	case Restart, Run:
		if action.Kind == Restart && action.Reason != ReasonAssigned {
			m.restarts++
		}
		m.running, m.since = true, now // it may have ended again before anybody looks
	case Remove:
		m.mishap, m.detached = mishap{}, time.Time{}
		if action.Reason == ReasonDetached { // if that does not help it is not done over and over
			m.failures++
			m.reason, m.notBefore = ReasonDetached, now.Add(backoff(m.failures))
		}
	case Rename:
		m.mishap = mishap{}
	}
}
