package agent

import (
	"errors"
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/docker"
)

// failed takes in that an action failed; what failed just now is not tried at once.
func (m *memory) failed(action Action, err error, now time.Time) {
	switch action.Kind {
	case Run, Restart:
		m.failedStart(action, err, now)
		return
	case Rename:
		m.mishap.reason = fmt.Sprintf("cannot be renamed to %s: %s", action.Name, docker.Words(err))
	case Remove:
		m.mishap.reason = fmt.Sprintf("cannot be removed: %s", docker.Words(err))
	}
	if m.mishap.kind != action.Kind {
		m.mishap.kind, m.mishap.failures = action.Kind, 0
	}
	m.mishap.failures++
	m.mishap.retry = now.Add(backoff(m.mishap.failures + 1))
}

// failedStart takes in that an instance could not be started, or was not restarted. Only a restart
// that Docker refused counts as one: of others it is not known what starting it would have come to.
func (m *memory) failedStart(action Action, err error, now time.Time) {
	if errors.Is(err, errPassed) {
		m.failures, m.unhealthy = max(m.failures-1, 0), false
		return
	}
	if errors.Is(err, errUnclaimed) {
		m.reason, m.notBefore = docker.Words(err), now.Add(claimRetry)
		return
	}
	policy := action.Desired.policy()
	m.noImage = errors.Is(err, engine.ErrNoImage) || errors.Is(err, engine.ErrImageAbsent)
	if action.Kind == Restart && !docker.IsUnavailable(err) {
		m.restarted = remembered(policy, append(m.restarted, now))
		m.fail(policy, docker.Words(err), 1, now)
		return
	}
	m.failures++
	m.reason, m.notBefore = docker.Words(err), now.Add(backoffFrom(policy.Delay.Of(), m.failures+1))
}

// succeeded takes in that an action was carried out.
func (m *memory) succeeded(action Action, now time.Time) {
	switch action.Kind {
	case Restart, Run:
		if action.Kind == Restart && action.Reason != ReasonAssigned {
			m.restarts++
			m.restarted = remembered(action.Desired.policy(), append(m.restarted, now))
		}
		m.begin(now) // it may have ended again before anybody looks
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
