package schedule

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
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
		if wanted[n] {
			continue
		}
		c.vacate(n)
		for _, a := range c.app.slots[n].assignments() {
			c.take(c.demandAt(a), a.Host)
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
	for c.stepAll() {
	}
	c.writeAll()
}

// writeAll writes the slots that changed: first those that end a change, which makes room for those
// that begin one.
func (c *container) writeAll() {
	ordered := c.order()
	for _, begins := range []bool{false, true} {
		for _, n := range ordered {
			after, stored := c.app.slots[n].Slot, c.stored(n)
			if begins != adds(stored.Slot, after) {
				continue
			}
			c.app.slots[n] = stored
			c.write(n, after, reasonOf(stored.Slot, after, c.emptied[n]))
		}
	}
}

// adds tells whether a slot has an instance that it had not.
func adds(from, to state.Slot) bool {
	return to.Current != nil && !names(from, to.Current.Instance) || to.Next != nil && !names(from, to.Next.Instance)
}

// stepAll takes every slot one step on, and tells whether one changed: what others have to say, and
// may do, depends on it.
func (c *container) stepAll() (changed bool) {
	room := c.room()
	c.full = ""
	for _, n := range c.order() {
		delete(c.reasons, n)
		delete(c.unmet, n)
		before := c.app.slots[n].Slot
		after, why := c.step(n, before, &room)
		if why != "" {
			c.reasons[n] = why
		}
		c.show(n, after)
		changed = changed || !equalSlots(before, after)
	}
	return changed
}

// countSlot counts a slot where it will be. One that was emptied for its successor keeps its place
// until that starts.
func (c *container) countSlot(n int, s state.Slot) {
	switch {
	case s.Next != nil:
		c.take(c.demandAt(s.Next), s.Next.Host)
	case s.Current != nil:
		c.take(c.demandAt(s.Current), s.Current.Host)
	case c.stopFirst():
		if o, there := c.occupant(n); there {
			c.take(c.demandFor(o.Revision), o.Host)
		}
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
	case s.Next.Reason == state.ReasonHostLost, !c.healthy(s.Current):
		return true // anything is better than nothing
	}
	return c.steady(s.Next)
}

// needed tells whether a next instance still serves what it was made for.
func (c *container) needed(n int, s state.Slot) bool {
	next, current := s.Next, s.Current
	switch {
	case c.p.lost(next.Host):
		return false
	case c.hosts[n] != "" && next.Host != c.hosts[n]:
		return false // there is another slot for that host
	case updates(next) && !c.current(next), !c.current(next) && !c.same(next.Revision, current.Revision):
		return false // the target is another by now
	case !c.current(current) && c.current(next) && c.frozen == "":
		return true
	case !updates(next) && c.gaveUp(next) != "":
		c.p.avoidHost(c.ref, next.Host, c.now)
		return next.Reason == state.ReasonHostLost && !c.elsewhere(next)
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
	if reason != state.ReasonHostLost {
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
	s.Next = c.assignment(&s, host, revision, reason)
	c.show(n, s)
	return s, ""
}

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
	defer c.as(revision)()
	if c.same(revision, c.target) {
		if why := c.imageWait(); why != "" {
			return s, why
		}
	}
	host, why := c.choose(n, s, reason)
	if host == "" {
		return s, why
	}
	c.take(c.demand, host)
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
		why = c.frozen
	}
	switch unfit := c.p.places.Fits(c.demand, current.Host); {
	case c.spec.Mode == manifest.Global:
		return "", why
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
	if c.spec.Mode == manifest.Global {
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
