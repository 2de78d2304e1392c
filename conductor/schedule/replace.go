package schedule

import (
	"fmt"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// nextWait says what a next instance is waited for.
func (c *container) nextWait(next *state.Assignment) string {
	if why := c.gaveUp(next); why != "" {
		return fmt.Sprintf("revision %d on %s: %s", next.Revision, next.Host, why)
	}
	return ""
}

// turn says what a slot waits for that is to change, but not yet.
func (c *container) turn(reason string) string {
	switch {
	case isUpdate(reason) && c.canaries() > 0:
		return "waits until the canaries are promoted"
	case isUpdate(reason):
		return fmt.Sprintf("waits for its turn to become revision %d", c.target)
	}
	return "waits for its turn to move: " + reason
}

// replace says why a slot's current instance is to be replaced, "" if it is not.
func (c *container) replace(n int, s state.Slot) (reason, why string) {
	current := s.Current
	host := c.p.hosts[current.Host]
	switch {
	case c.p.lost(current.Host):
		return c.replaceLost(n, current)
	case !c.current(current) && c.frozen == "" && c.occupied(n):
		return "", "waits until the instance before is gone"
	case !c.current(current) && c.frozen == "":
		if c.app.rollout != nil && c.app.rollout.Phase == state.RolloutRollingBack {
			return state.ReasonRollback, ""
		}
		return state.ReasonRevision, ""
	}
	if !c.current(current) { // it stays of its revision, but need not stay where it is
		defer c.as(current.Revision)()
		why = "the update is paused"
	}
	switch unfit := c.p.places.Fits(c.demand, current.Host); {
	case c.spec.Mode == manifest.Global:
		return "", why
	case c.stuck(current):
		reason = state.ReasonStuck
	case host.Availability == state.Drained:
		reason = state.ReasonDrain
	case unfit != "":
		reason = state.ReasonUnfit
	default:
		return "", why
	}
	if pinned := c.pinned(n); pinned != "" {
		return "", pinned
	}
	return reason, ""
}

// stuck tells whether an instance is not healthy on a host whose Docker hangs, which can neither
// start, restart nor remove it.
func (c *container) stuck(a *state.Assignment) bool {
	return c.p.hosts[a.Host].Condition == state.ConditionHanging && !c.healthy(a)
}

// hindered tells whether an instance could not start for what is wrong with its host.
func (c *container) hindered(a *state.Assignment) bool {
	return c.stuck(a) || c.p.hosts[a.Host].Condition != "" && c.gaveUp(a) != ""
}

// urgent tells whether an instance is replaced because nothing is left of it that works.
func urgent(reason string) bool {
	return reason == state.ReasonHostLost || reason == state.ReasonStuck
}

// presses tells whether the plan replaces an instance of which nothing works, or takes one away that
// is not wanted.
func (c *container) presses() bool {
	for n, before := range c.p.apps[c.ref].slots {
		after := c.app.slots[n]
		if before.wanted() && !after.wanted() {
			return true
		}
		if next := after.Next; next != nil && urgent(next.Reason) && !names(before.Slot, next.Instance) {
			return true
		}
	}
	return false
}

// replaceLost says whether an instance on a lost host is replaced.
func (c *container) replaceLost(n int, current *state.Assignment) (reason, why string) {
	host, known := c.p.hosts[current.Host]
	disconnect := c.spec.Disconnect
	switch {
	case !known:
		return state.ReasonHostLost, "" // on purpose
	case c.p.braked:
		return "", "host " + current.Host + " is lost, but so are too many others: nothing is moved"
	case !disconnect.Replace:
		return "", "host " + current.Host + " is lost, and disconnect.replace is false"
	}
	if at := host.Silent.Add(disconnect.LostAfter.Of()); disconnect.LostAfter > 0 && at.After(c.now) {
		c.wakeAt(at)
		return "", fmt.Sprintf("host %s is lost, and given up %v after its last word", current.Host, disconnect.LostAfter.Of())
	}
	if why := c.volumeWait(n); why != "" {
		return "", why
	}
	return state.ReasonHostLost, ""
}

// choose finds the host for one more instance of a slot, or says why there is none.
func (c *container) choose(n int, s state.Slot, reason string) (host, why string) {
	if c.hosts[n] != "" {
		return c.ownHost(n, s)
	}
	if reason == state.ReasonBalance {
		return c.move.To, ""
	}
	if pin, why := c.pin(n); pin != "" || why != "" {
		return pin, why
	}
	stays := reason == state.ReasonRevision || reason == state.ReasonRollback
	if stays && s.Current != nil && c.p.hosts[s.Current.Host].refuses() == "" && c.p.places.Fits(c.demand, s.Current.Host) == "" {
		return s.Current.Host, "" // where to run is a matter of balance, not of an update
	}
	return c.pick(n, s, reason)
}

// reasonOf is why a slot's key is written.
func reasonOf(from, to state.Slot, emptied string) string {
	switch {
	case to.Current == nil && to.Next == nil:
		return orElse(emptied, "the slot is empty")
	case to.Next != nil && (from.Next == nil || from.Next.Instance != to.Next.Instance):
		return fmt.Sprintf("%s: next on %s", to.Next.Reason, to.Next.Host)
	case to.Current != nil && from.Next != nil && from.Next.Instance == to.Current.Instance:
		return "the next instance is healthy"
	case to.Current != nil && (from.Current == nil || from.Current.Instance != to.Current.Instance):
		return fmt.Sprintf("%s: on %s", to.Current.Reason, to.Current.Host)
	}
	return "the next instance is not needed any more"
}
