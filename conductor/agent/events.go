package agent

import (
	"encoding/json"

	"github.com/dokkaa/dokkaa/internal/state"
)

// tell records the event that a key of this host was written, if it is the state of an instance that
// a person may want to know of. was is what the key held before.
func (a *Agent) tell(key, was, value string) {
	k, ok := state.ParseHostKey(key)
	if a.Events == nil || !ok || k.Kind != "instances" {
		return
	}
	var before, now state.Observed
	if json.Unmarshal([]byte(value), &now) != nil {
		return
	}
	_ = json.Unmarshal([]byte(was), &before) // nothing, or something unreadable, is no state
	if kind := eventKind(before, now); kind != "" {
		a.Events(state.Event{Kind: kind, Host: a.HostIP, App: now.App, Name: now.Name, Slot: now.Slot,
			Instance: k.Item, Reason: now.Reason})
	}
}

// eventKind is the kind of the event that an instance's state became another, "" for none.
func eventKind(before, now state.Observed) string {
	if now.GaveUp && !before.GaveUp {
		return "gave up"
	}
	if before.Phase == now.Phase && (before.Reason == now.Reason || now.Phase == state.PhaseHealthy) {
		return ""
	}
	if before.Phase == now.Phase && now.Phase == state.PhaseStopping && (now.Reason == "" || drains(before) && drains(now)) {
		return "" // its connections end one by one
	}
	switch now.Phase {
	case state.PhaseHealthy, state.PhaseFailed, state.PhaseStopping, state.PhaseEnded:
		return string(now.Phase)
	case state.PhaseRunning:
		switch {
		case before.Phase == state.PhaseHealthy, before.Phase == state.PhaseRunning && now.Reason != "":
			return "unhealthy"
		case now.Reason != "":
			return string(now.Phase) // and it was never healthy
		}
	}
	return ""
}
