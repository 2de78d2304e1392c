package schedule

import (
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// fill brings the wanted slots one step nearer to a healthy instance each of the target, and gives
// up the others.
func (c *container) fill() {
	wanted := map[int]bool{}
	for _, n := range c.wanted {
		wanted[n] = true
	}
	for _, n := range c.app.slotNumbers() {
		if !wanted[n] {
			c.vacate(n)
		}
	}
	reviewed := make([]state.Slot, len(c.wanted))
	for i, n := range c.wanted {
		reviewed[i] = c.review(n)
	}
	for i, n := range c.wanted {
		s := reviewed[i]
		c.show(n, s)
		// A slot counts once, where it will be: what an update has beside it for a moment is no
		// reason to move others.
		c.countSlot(n, s)
	}
	c.settleImage()
	c.begin()
	c.await()
	c.stepAll()
	c.writeAll()
}

// writeAll writes the slots that changed: first those that end a change, which makes room for those
// that begin one.
func (c *container) writeAll() {
	ordered := c.order()
	for _, begins := range []bool{false, true} {
		for _, n := range ordered {
			after, stored := c.app.slots[n].Slot, c.stored(n)
			switch {
			case begins != adds(stored.Slot, after):
				continue
			case !stored.unreadable && equalSlots(stored.Slot, after):
				c.unchange(c.ref.SlotKey(n))
			}
			c.app.slots[n] = stored
			c.write(n, after, reasonOf(stored.Slot, after, c.emptied[n]))
			if stored.modified == 0 && after.Current == nil {
				delete(c.app.slots, n) // there is no key, and none is made for a slot that waits
			}
		}
	}
}

// adds tells whether a slot has an instance that it had not.
func adds(from, to state.Slot) bool {
	return to.Current != nil && !names(from, to.Current.Instance) || to.Next != nil && !names(from, to.Next.Instance)
}

// stepAll takes every slot one step on.
func (c *container) stepAll() {
	room := c.room()
	for _, n := range c.order() {
		after, why := c.step(n, c.app.slots[n].Slot, &room)
		if why != "" {
			c.reasons[n] = why
		}
		c.show(n, after)
	}
}

// countSlot counts a slot where it will be. One that was emptied keeps its place until its instance is
// gone.
func (c *container) countSlot(n int, s state.Slot) {
	switch {
	case s.Next != nil:
		c.take(c.demandAt(s.Next), s.Next.Host)
	case s.Current != nil:
		c.take(c.demandAt(s.Current), s.Current.Host)
	case s.Generation > 0:
		if o, there := c.occupant(n); there {
			c.take(c.demandFor(o.Revision), o.Host)
		}
	}
}

// stored is the slot as its key has it.
func (c *container) stored(n int) slot { return c.p.apps[c.ref].slots[n] }

// order is that in which slots change: first what does not work, then by number.
func (c *container) order() []int {
	ordered, working := make([]int, 0, len(c.wanted)), make([]int, 0, len(c.wanted))
	for _, n := range c.wanted {
		if current := c.app.slots[n].Current; current != nil && c.healthy(current) {
			working = append(working, n)
		} else {
			ordered = append(ordered, n)
		}
	}
	return append(ordered, working...)
}

// review is what a slot has become by what was observed:
//
//	empty ──▶ current ──host lost, new revision, …──▶ current + next ──next is good──▶ current
//	  ▲──────────stop-first: until the instance is gone──────┘
//
// The former current, and whatever else the slot no longer names, is stopped by its host.
func (c *container) review(n int) state.Slot {
	s := c.app.slots[n]
	if s.unreadable {
		s.Slot = c.rebuild(n)
	}
	if s.Current == nil { // taken away by somebody: nothing to wait for
		s.Current, s.Next = s.Next, nil
	}
	if s.Next != nil && c.arrived(s.Slot) {
		s.Current, s.Next = s.Next, nil
	}
	if s.Next != nil && !c.needed(n, s.Slot) && c.unsure(s.Next) == "" {
		s.Next = nil
	}
	return s.Slot
}

// arrived tells whether a slot's next instance takes over.
func (c *container) arrived(s state.Slot) bool {
	switch {
	case !c.healthy(s.Next):
		return false
	case updates(s.Next) && c.current(s.Next) && c.canaries() > 0:
		return false // a person has to say so
	case urgent(s.Next.Reason), !c.healthy(s.Current):
		return true // anything is better than nothing
	}
	return c.steady(s.Next)
}

// needed tells whether a next instance still serves what it was made for.
func (c *container) needed(n int, s state.Slot) bool {
	next, current := s.Next, s.Current
	switch {
	case c.p.lost(next.Host), c.hindered(next):
		return false
	case c.hosts[n] != "" && next.Host != c.hosts[n]:
		return false // there is another slot for that host
	case updates(next) && !c.current(next), !c.current(next) && !c.same(next.Revision, current.Revision):
		return false // the target is another by now
	case !c.current(current) && c.current(next) && c.frozen == "":
		return true
	case !updates(next) && c.gaveUp(next) != "":
		c.p.avoidHost(c.ref, next.Host, c.now)
		return urgent(next.Reason) && !c.elsewhere(next)
	}
	switch next.Reason {
	case state.ReasonHostLost:
		// One that came back before its replacement was healthy keeps its own.
		return c.p.lost(current.Host) || !c.healthy(current) || c.spec.Disconnect.Reconcile == manifest.KeepReplacement
	case state.ReasonDrain:
		return c.p.hosts[current.Host].Availability == state.Drained
	case state.ReasonUnfit:
		return c.p.places.Fits(c.demand, current.Host) != ""
	case state.ReasonBalance:
		return c.p.hosts[next.Host].refuses() == ""
	}
	return !c.healthy(current)
}

// elsewhere tells whether an instance that gave up where it is could be tried on another host.
func (c *container) elsewhere(a *state.Assignment) bool {
	defer c.as(a.Revision)()
	host, _ := c.p.places.Pick(c.demand, c.avoiding(placement.Options{Exclude: map[string]string{}}))
	return host != ""
}

// rebuild is what a slot whose key cannot be read surely was: the instance that runs in it.
func (c *container) rebuild(n int) state.Slot {
	var s state.Slot
	for _, id := range slices.Sorted(maps.Keys(c.p.observed[c.ref])) {
		o := c.p.observed[c.ref][id]
		if o.Slot != n || o.Phase == state.PhaseStopping || c.p.lost(o.Host) {
			continue
		}
		if s.Current == nil || o.Revision > s.Current.Revision {
			s.Current = &state.Assignment{Host: o.Host, Revision: o.Revision, Instance: id, Reason: state.ReasonFound}
		}
	}
	return s
}

// step is what a reviewed slot should become now, and why it is not where it should be. room is
// how many more slots may begin to change.
func (c *container) step(n int, s state.Slot, room *int) (to state.Slot, why string) {
	if s.Current == nil {
		return c.start(n, s)
	}
	if s.Next != nil {
		return s, c.nextWait(s.Next)
	}
	reason, why := c.replace(n, s)
	if c.move != nil && c.move.Slot == n && reason == "" {
		reason = state.ReasonBalance
	}
	if reason == "" {
		return s, why
	}
	revision := c.target
	if !isUpdate(reason) && !c.current(s.Current) && c.app.rollout != nil {
		revision = s.Current.Revision // what it changes to is a matter of the update
	}
	defer c.as(revision)()
	if c.stopFirst() && c.occupied(n) {
		return s, "waits until the instance before is gone"
	}
	if !urgent(reason) {
		if *room <= 0 || isUpdate(reason) && !c.canaryRoom() {
			return s, c.turn(reason)
		}
		if why := c.imageWait(); why != "" && isUpdate(reason) {
			return s, why
		}
		*room--
	}
	c.leave(c.demandAt(s.Current), s.Current.Host)
	host, why := c.choose(n, s, reason)
	if host == "" || c.emptiedFirst(reason) {
		c.take(c.demandAt(s.Current), s.Current.Host)
	}
	switch {
	case host == "":
		return s, why
	case c.emptiedFirst(reason):
		return c.empty(n, s, reason)
	}
	c.take(c.demand, host)
	s.Next = c.assignment(n, &s, host, revision, reason)
	c.show(n, s)
	return s, ""
}

// show has the slots that come later in this pass see what this one becomes.
func (c *container) show(n int, s state.Slot) {
	kept := c.app.slots[n]
	kept.Slot = s
	c.app.slots[n] = kept
}
