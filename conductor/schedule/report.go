package schedule

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
)

// States of a container as a whole.
const (
	StateRefused  = "refused" // the manifest, and nothing runs from an earlier one
	StateStopped  = "stopped" // scale 0
	StatePending  = "pending"
	StateUpdating = "updating"
	StateRunning  = "running"
	StateStopping = "stopping" // scale 0, and something still runs
)

// report writes the container's status if it is not what is stored.
func (c *container) report() {
	status := state.Status{Wanted: c.wanted, Revision: c.revision, Errors: c.accepted.errors}
	updating := false
	for _, n := range c.app.slotNumbers() {
		slot := c.app.Slots[n]
		if slot.Current == nil && slot.Next == nil && n > c.wanted {
			if c.occupied(n) {
				status.Slots = append(status.Slots, state.SlotStatus{Slot: n, Phase: state.PhaseStopping, Reason: "not wanted any more"})
			}
			continue
		}
		s := c.reportSlot(n, slot.Slot)
		switch s.Phase {
		case state.PhaseHealthy:
			status.Healthy++
			status.Running++
		case state.PhaseRunning:
			status.Running++
		}
		updating = updating || slot.Next != nil || slot.Current != nil && !c.current(slot.Current)
		status.Slots = append(status.Slots, s)
	}
	status.State = stateOf(status, updating)
	shorten(&status)
	if value := marshal(status); value != c.app.Status {
		c.change(Change{Kind: Put, Key: c.ref.StatusKey(), Value: value, Reason: "what was observed changed"})
	}
}

// maxSlots is how many slots a status shows: a value in etcd is limited, and so is a reader.
const maxSlots = 200

// shorten leaves healthy slots out of a status that has too many.
func shorten(s *state.Status) {
	if len(s.Slots) <= maxSlots {
		return
	}
	slices.SortStableFunc(s.Slots, func(a, b state.SlotStatus) int {
		return cmp.Compare(healthyLast(a), healthyLast(b))
	})
	s.More = len(s.Slots) - maxSlots
	s.Slots = s.Slots[:maxSlots]
}

func healthyLast(s state.SlotStatus) int {
	if s.Phase == state.PhaseHealthy && s.Next == "" {
		return 1
	}
	return 0
}

func stateOf(s state.Status, updating bool) string {
	switch {
	case len(s.Errors) > 0 && s.Revision == 0:
		return StateRefused
	case updating:
		return StateUpdating
	case s.Wanted == 0 && len(s.Slots) == 0:
		return StateStopped
	case s.Wanted == 0:
		return StateStopping
	case s.Healthy < s.Wanted:
		return StatePending
	}
	return StateRunning
}

func (c *container) reportSlot(n int, slot state.Slot) state.SlotStatus {
	s := state.SlotStatus{Slot: n, Phase: state.PhaseStarting, Reason: c.reasons[n]}
	if slot.Current == nil {
		s.Phase = state.PhaseFailed
		return s
	}
	s.Host, s.Instance, s.Revision = slot.Current.Host, slot.Current.Instance, slot.Current.Revision
	s.Phase, s.Reason = c.reportInstance(slot.Current, s.Reason)
	if slot.Next != nil {
		phase, reason := c.reportInstance(slot.Next, "")
		s.Next = fmt.Sprintf("revision %d on %s: %s", slot.Next.Revision, slot.Next.Host, phase)
		if reason != "" {
			s.Next += " (" + reason + ")"
		}
	}
	return s
}

// reportInstance is how an assigned instance is, with why it is not healthy.
func (c *container) reportInstance(a *state.Assignment, reason string) (state.Phase, string) {
	switch {
	case c.placement.lost(a.Host):
		return state.PhaseFailed, orElse(reason, "host "+a.Host+" is lost")
	case c.in.Hosts[a.Host].Liveness == Missing:
		return state.PhaseFailed, orElse(reason, "host "+a.Host+" was not heard of for a moment")
	}
	o, seen := c.in.Observed[a.Instance]
	if !seen {
		if condition := c.in.Hosts[a.Host].Condition; condition != "" {
			return state.PhaseStarting, orElse(reason, condition)
		}
		return state.PhaseStarting, orElse(reason, "waits for its host")
	}
	return o.Phase, orElse(o.Reason, reason)
}

func orElse(text, other string) string {
	if text != "" {
		return text
	}
	return other
}
