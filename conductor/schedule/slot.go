package schedule

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// fence is how long after its host was last heard of an instance that may be the only writer of a
// volume has surely been stopped, beyond the end of the host's lease.
const fence = 4 * time.Second

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
	reviewed := map[int]state.Slot{}
	for _, n := range c.wanted {
		reviewed[n] = c.review(n)
	}
	for n, s := range reviewed {
		c.show(n, s)
		// A slot counts once, where it will be: what an update has beside it for a moment is no
		// reason to move others.
		if s.Next != nil {
			c.take(s.Next.Host)
		} else if s.Current != nil {
			c.take(s.Current.Host)
		}
	}
	c.settleImage()
	c.begin()
	room := c.room()
	for _, n := range c.order() {
		after, why := c.step(n, c.app.slots[n].Slot, &room)
		if why != "" {
			c.reasons[n] = why
		}
		stored := c.stored(n)
		c.app.slots[n] = stored
		c.write(n, after, reasonOf(stored.Slot, after, why))
	}
}

// stored is the slot as its key has it.
func (c *container) stored(n int) slot { return c.p.apps[c.ref].slots[n] }

// order is that in which slots change: first what does not work, then by number.
func (c *container) order() []int {
	ordered := slices.Clone(c.wanted)
	slices.SortStableFunc(ordered, func(a, b int) int { return c.works(a) - c.works(b) })
	return ordered
}

func (c *container) works(n int) int {
	if current := c.app.slots[n].Current; current != nil && c.healthy(current) {
		return 1
	}
	return 0
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
	if s.Next != nil && !c.needed(s.Slot) {
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
	case s.Next.Reason == state.ReasonHostLost, !c.healthy(s.Current):
		return true // anything is better than nothing
	}
	return c.steady(s.Next)
}

// needed tells whether a next instance still serves what it was made for.
func (c *container) needed(s state.Slot) bool {
	next, current := s.Next, s.Current
	switch {
	case c.p.lost(next.Host):
		return false
	case updates(next) && !c.current(next), !c.current(next) && !c.same(next.Revision, current.Revision):
		return false // the target is another by now
	case !c.current(current) && c.current(next) && c.frozen == "":
		return true
	case !updates(next) && c.gaveUp(next) != "":
		c.p.avoid[avoided{c.ref, next.Host}] = c.now.Add(avoidance)
		return false // elsewhere, then
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
	if reason != state.ReasonHostLost {
		if *room <= 0 || isUpdate(reason) && !c.canaryRoom() {
			return s, c.turn(reason)
		}
		if why := c.imageWait(); why != "" && isUpdate(reason) {
			return s, why
		}
		*room--
	}
	c.leave(s.Current.Host)
	host, why := c.choose(n, s, reason)
	if host == "" {
		c.take(s.Current.Host)
		return s, why
	}
	if c.emptiedFirst(reason) {
		emptied := state.Slot{Generation: s.Generation}
		if c.spec.Mode == manifest.Global {
			emptied.Host = host
		}
		c.show(n, emptied)
		return c.start(n, emptied)
	}
	c.take(host)
	s.Next = c.assignment(&s, host, revision, reason)
	c.show(n, s)
	return s, ""
}

// show has the slots that come later in this pass see what this one becomes.
func (c *container) show(n int, s state.Slot) {
	kept := c.app.slots[n]
	kept.Slot = s
	c.app.slots[n] = kept
}

// emptiedFirst tells whether the slot is emptied, and filled when its instance is gone. What was on
// a lost host is not waited for, but for what may be the only writer of a volume: it must find its
// slot taken if it comes back.
func (c *container) emptiedFirst(reason string) bool {
	if reason == state.ReasonHostLost {
		return c.spec.Fenced()
	}
	return c.stopFirst()
}

// start fills an empty slot.
func (c *container) start(n int, s state.Slot) (to state.Slot, why string) {
	if c.stopFirst() && c.occupied(n) {
		return s, "waits until the instance before is gone"
	}
	if c.spec.Fenced() {
		if why := c.fenced(n); why != "" {
			return s, why
		}
	}
	fresh := s.Generation == 0
	if fresh {
		if why := c.dependencyWait(); why != "" {
			return s, why
		}
	}
	revision, reason := c.target, state.ReasonNew
	if !fresh && c.app.rollout != nil {
		reason = state.ReasonRevision
		if c.app.rollout.Phase == state.RolloutRollingBack {
			reason = state.ReasonRollback
		}
	}
	if c.frozen != "" || c.app.rollout != nil && c.canaries() > 0 {
		revision = c.frozenRevision()
	}
	if c.same(revision, c.target) {
		if why := c.imageWait(); why != "" {
			return s, why
		}
	}
	host, why := c.choose(n, s, reason)
	if host == "" {
		return s, why
	}
	c.take(host)
	s.Current = c.assignment(&s, host, revision, reason)
	c.show(n, s)
	return s, ""
}

// frozenRevision is what a new slot gets while the update is paused, or waits for a person: what the
// others are.
func (c *container) frozenRevision() int {
	if c.app.rollout != nil && c.app.revisions[c.app.rollout.From].parsed != nil {
		return c.app.rollout.From
	}
	return c.target
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
		if at := host.Gone.Add(fence); at.After(c.now) {
			c.wakeAt(at)
			return "waits until lost host " + o.Host + " has surely stopped it"
		}
	}
	return ""
}

// assignment makes a new assignment.
func (c *container) assignment(s *state.Slot, host string, revision int, reason string) *state.Assignment {
	s.Generation++
	s.Host = ""
	return &state.Assignment{Host: host, Revision: revision, Instance: c.p.newID(), Generation: s.Generation, Reason: reason}
}

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
	case !c.current(current) && c.frozen != "":
		return "", c.frozen
	case !c.current(current) && c.occupied(n):
		return "", "waits until the instance before is gone"
	case !c.current(current):
		if c.app.rollout != nil && c.app.rollout.Phase == state.RolloutRollingBack {
			return state.ReasonRollback, ""
		}
		return state.ReasonRevision, ""
	case c.spec.Mode == manifest.Global:
		return "", ""
	case host.Availability == state.Drained:
		if why := c.pinned(n); why != "" {
			return "", why
		}
		return state.ReasonDrain, ""
	}
	if why := c.p.places.Fits(c.demand, current.Host); why != "" {
		if pinned := c.pinned(n); pinned != "" {
			return "", pinned
		}
		return state.ReasonUnfit, ""
	}
	return "", ""
}

// replaceLost says whether an instance on a lost host is replaced.
func (c *container) replaceLost(n int, current *state.Assignment) (reason, why string) {
	host := c.p.hosts[current.Host]
	disconnect := c.spec.Disconnect
	switch {
	case c.spec.Mode == manifest.Global:
		return "", "host " + current.Host + " is lost"
	case c.p.braked:
		return "", "host " + current.Host + " is lost, but so are too many others: nothing is moved"
	case !disconnect.Replace:
		return "", "host " + current.Host + " is lost, and disconnect.replace is false"
	}
	if at := host.Silent.Add(disconnect.LostAfter.Of()); disconnect.LostAfter > 0 && at.After(c.now) && host.IP != "" {
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
	if c.spec.Mode == manifest.Global {
		return c.ownHost(n, s)
	}
	if pin, why := c.pin(n); pin != "" || why != "" {
		return pin, why
	}
	if reason == state.ReasonBalance {
		return c.move.To, ""
	}
	stays := reason == state.ReasonRevision || reason == state.ReasonRollback
	if stays && s.Current != nil && c.p.hosts[s.Current.Host].refuses() == "" && c.p.places.Fits(c.demand, s.Current.Host) == "" {
		return s.Current.Host, "" // where to run is a matter of balance, not of an update
	}
	return c.pick(n, s)
}

// reasonOf is why a slot's key is written.
func reasonOf(from, to state.Slot, why string) string {
	switch {
	case to.Current == nil && to.Next == nil:
		return orElse(why, "the slot is empty")
	case to.Next != nil && (from.Next == nil || from.Next.Instance != to.Next.Instance):
		return fmt.Sprintf("%s: next on %s", to.Next.Reason, to.Next.Host)
	case to.Current != nil && from.Next != nil && from.Next.Instance == to.Current.Instance:
		return "the next instance is healthy"
	case to.Current != nil && (from.Current == nil || from.Current.Instance != to.Current.Instance):
		return fmt.Sprintf("%s: on %s", to.Current.Reason, to.Current.Host)
	}
	return "the next instance is not needed any more"
}
