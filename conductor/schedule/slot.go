package schedule

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
)

// review is what a slot has become by what was observed:
//
//	empty ──fill──▶ current ──host lost or new revision──▶ current + next ──next healthy──▶ current
//
// The former current, and whatever else the slot no longer names, is stopped by its host.
func (c *container) review(slot state.Slot) state.Slot {
	if slot.Current == nil { // taken away by somebody: nothing to wait for
		slot.Current, slot.Next = slot.Next, nil
	}
	if slot.Next != nil && c.healthy(slot.Next) {
		slot.Current, slot.Next = slot.Next, nil
	}
	if slot.Next != nil && !c.needed(slot) {
		slot.Next = nil
	}
	return slot
}

// rebuild is what a slot whose key cannot be read surely was: the instance that runs in it.
func (c *container) rebuild(n int) state.Slot {
	var slot state.Slot
	for _, id := range slices.Sorted(maps.Keys(c.in.Observed)) {
		o := c.in.Observed[id]
		if o.Ref != c.ref || o.Slot != n || o.Phase == state.PhaseStopping {
			continue
		}
		if slot.Current == nil || o.Revision > slot.Current.Revision {
			slot.Current = &state.Assignment{Host: o.Host, Revision: o.Revision, Instance: id, Reason: state.ReasonFound}
		}
	}
	return slot
}

// step is what a reviewed slot should become now, and why it is not where it should be.
func (c *container) step(n int, slot state.Slot) (to state.Slot, why string) {
	to = slot
	if to.Current == nil {
		to.Current, why = c.assign(&to, state.ReasonNew, "")
		return to, why
	}
	if to.Next != nil {
		return to, ""
	}
	reason, why := c.replace(n, to)
	if reason == "" {
		return to, why
	}
	preferred := ""
	if reason == state.ReasonRevision {
		preferred = to.Current.Host // where to run is a matter of balance, not of an update
	}
	to.Next, why = c.assign(&to, reason, preferred)
	return to, why
}

// assign makes a new assignment of the revision in force, nil with the reason if no host will do.
func (c *container) assign(slot *state.Slot, reason, preferred string) (*state.Assignment, string) {
	host := preferred
	if preferred == "" || !c.placement.fits(preferred) {
		var why string
		if host, why = c.placement.pick(c.ref); host == "" {
			return nil, why
		}
	} else {
		c.placement.add(c.ref, host, 1)
	}
	slot.Generation++
	return &state.Assignment{Host: host, Revision: c.revision, Instance: c.in.NewID(), Generation: slot.Generation, Reason: reason}, ""
}

// needed tells whether a next assignment still serves what it was made for.
func (c *container) needed(slot state.Slot) bool {
	next, current := slot.Next, slot.Current
	switch {
	case c.placement.lost(next.Host), !c.current(next):
		return false
	case !c.current(current):
		return true
	}
	// The revision is right already: the next is for a host that was lost. One that came back
	// before its replacement was healthy keeps its own.
	return c.placement.lost(current.Host) || !c.healthy(current)
}

// replace says why a slot's current instance is to be replaced, "" if it is not.
func (c *container) replace(n int, slot state.Slot) (reason, why string) {
	current := slot.Current
	switch {
	case c.placement.lost(current.Host):
		if c.placement.braked {
			return "", "host " + current.Host + " is lost, but so are too many others: nothing is moved"
		}
		return state.ReasonHostLost, ""
	case c.current(current):
		return "", ""
	case c.outgoing(n, slot):
		return "", "waits until the instance before is gone"
	case c.updating(n):
		return "", fmt.Sprintf("waits for its turn to become revision %d", c.revision)
	}
	return state.ReasonRevision, ""
}

// updating tells whether another slot is being changed to another revision.
func (c *container) updating(n int) bool {
	for number, slot := range c.app.Slots {
		if number != n && slot.Next != nil && slot.Next.Reason == state.ReasonRevision {
			return true
		}
	}
	return false
}

// outgoing tells whether an instance that the slot no longer names still runs somewhere.
func (c *container) outgoing(n int, slot state.Slot) bool {
	for id, o := range c.in.Observed {
		if o.Ref == c.ref && o.Slot == n && id != slot.Current.Instance && (slot.Next == nil || id != slot.Next.Instance) {
			return true
		}
	}
	return false
}

// current tells whether an assignment's container is what the revision in force asks for: of that
// revision, or of an earlier one that asked for the same.
func (c *container) current(a *state.Assignment) bool {
	return a.Revision == c.revision || c.app.Revisions[a.Revision].Hash == c.app.Revisions[c.revision].Hash
}

func (c *container) healthy(a *state.Assignment) bool {
	o, seen := c.in.Observed[a.Instance]
	return seen && o.Host == a.Host && o.Phase == state.PhaseHealthy
}
