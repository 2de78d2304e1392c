package schedule

import (
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// fence is how long after its host was last heard of an instance that may be the only writer of a
// volume has surely been stopped, beyond the end of the host's lease.
const fence = 4 * time.Second

// empty gives up a slot's instance for its successor, which starts when it is gone.
func (c *container) empty(n int, s state.Slot, reason string) (to state.Slot, why string) {
	if why := c.unsure(s.Current); why != "" {
		return s, why
	}
	c.emptied[n] = "stops before its successor starts: " + reason
	to = state.Slot{Generation: s.Generation}
	if c.spec.Mode == manifest.Global {
		to.Host = c.hosts[n]
	}
	c.show(n, to)
	to, why = c.start(n, to)
	if to.Current != nil { // nothing was to be waited for
		c.leave(c.demandAt(s.Current), s.Current.Host)
		to.Current.Reason = reason
	}
	return to, why
}

// unsure says why it cannot be known whether an instance runs that must be gone before its successor
// starts, "" if it can: its host may be about to start it, and tells of it only then.
func (c *container) unsure(a *state.Assignment) string {
	m := c.app.revisions[a.Revision].parsed
	if _, told := c.p.observed[c.ref][a.Instance]; told || m == nil || !m.StopFirst() {
		return ""
	}
	switch host, known := c.p.hosts[a.Host]; {
	case !known:
		return ""
	case host.Liveness != Lost:
		return "waits until host " + a.Host + " has told whether it runs"
	case m.Fenced():
		return c.fencedOn(host)
	}
	return ""
}

// emptiedFirst tells whether the slot is emptied, and filled when its instance is gone. What was on
// a lost host is not waited for, but for what may be the only writer of a volume: it must find its
// slot taken if it comes back.
func (c *container) emptiedFirst(reason string) bool {
	if urgent(reason) {
		return c.spec.Fenced()
	}
	return c.stopFirst()
}

// start fills an empty slot.
func (c *container) start(n int, s state.Slot) (to state.Slot, why string) {
	revision := c.target
	if c.frozen != "" || c.app.rollout != nil && c.canaries() > 0 {
		if revision = c.frozenRevision(); revision == 0 {
			return s, orElse(c.frozen, "waits until the canaries are promoted")
		}
	}
	defer c.as(revision)()
	if why := c.startWait(n, s, revision); why != "" {
		return s, why
	}
	reason := c.startReason(s)
	host, why := c.choose(n, s, reason)
	if host == "" {
		return s, why
	}
	c.take(c.demand, host)
	s.Current = c.assignment(n, &s, host, revision, reason)
	c.show(n, s)
	return s, ""
}

// startWait says what an empty slot waits for before it gets an instance of a revision.
func (c *container) startWait(n int, s state.Slot, revision int) (why string) {
	if c.stopFirst() && c.occupied(n) {
		return "waits until the instance before is gone"
	}
	if c.spec.Fenced() {
		why = c.fenced(n)
	}
	if why == "" && s.Generation == 0 {
		why = c.dependencyWait()
	}
	if why == "" && c.same(revision, c.target) {
		why = c.imageWait()
	}
	return why
}

// startReason is why an empty slot is filled.
func (c *container) startReason(s state.Slot) string {
	switch {
	case s.Generation == 0 || c.app.rollout == nil:
		return state.ReasonNew
	case c.app.rollout.Phase == state.RolloutRollingBack:
		return state.ReasonRollback
	}
	return state.ReasonRevision
}

// frozenRevision is what a new slot gets while the update is paused, or waits for a person: what the
// others are. It is 0 if they are of another mode, and so in other slots.
func (c *container) frozenRevision() int {
	if c.app.rollout == nil {
		return c.target
	}
	switch before := c.app.revisions[c.app.rollout.From].parsed; {
	case before == nil:
		return c.target
	case before.Mode != c.spec.Mode:
		return 0
	}
	return c.app.rollout.From
}

// fenced says why the slot of a volume's only writer may not be filled yet: an instance on a host
// that was lost may still run there, until its host has stopped it.
func (c *container) fenced(n int) string {
	for id, o := range c.p.observed[c.ref] {
		host, known := c.p.hosts[o.Host]
		if o.Slot != n || !known || host.Liveness == Alive || names(c.app.slots[n].Slot, id) {
			continue
		}
		if host.Liveness == Missing {
			return "waits until host " + o.Host + " is surely lost"
		}
		if why := c.fencedOn(host); why != "" {
			return why
		}
	}
	return ""
}

// fencedOn says that a host that is lost may not have stopped yet what only it may run, "" if it has.
func (c *container) fencedOn(host Host) string {
	at := host.Gone.Add(fence)
	if !at.After(c.now) {
		return ""
	}
	c.wakeAt(at)
	return "waits until lost host " + host.IP + " has surely stopped it"
}

// assignment makes a new assignment.
func (c *container) assignment(n int, s *state.Slot, host string, revision int, reason string) *state.Assignment {
	s.Generation = max(s.Generation, c.stored(n).Generation) + 1 // also if it was given up in this very pass
	s.Host = ""
	return &state.Assignment{Host: host, Revision: revision, Instance: c.p.newID(), Generation: s.Generation, Reason: reason}
}
