package schedule

import (
	"github.com/dokkaa/dokkaa/internal/state"
)

// vacate gives up a slot; its key goes when nothing of it runs any more. What is left of it counts.
func (c *container) vacate(n int) {
	for _, a := range c.app.slots[n].assignments() {
		c.leave(c.demandAt(a), a.Host)
	}
	c.giveUp(n)
	if left, there := c.app.slots[n]; there {
		c.countSlot(n, left.Slot)
	}
}

func (c *container) giveUp(n int) {
	s := c.app.slots[n]
	for _, a := range s.assignments() {
		if why := c.unsure(a); why != "" {
			c.reasons[n] = why
			return
		}
	}
	switch {
	case c.vacant(n):
		c.change(Change{Kind: Delete, Key: c.ref.SlotKey(n), PrevIndex: s.modified, Reason: "nothing runs in the slot any more"})
		delete(c.app.slots, n)
	case s.wanted():
		c.write(n, state.Slot{Generation: s.Generation}, "the slot is not wanted any more")
	}
}

// vacant tells whether nothing of a slot would be left if it were emptied.
func (c *container) vacant(n int) bool {
	s := c.app.slots[n]
	for _, a := range s.assignments() {
		if c.unsure(a) != "" {
			return false
		}
	}
	empty := s
	empty.Slot = state.Slot{Generation: s.Generation}
	c.app.slots[n] = empty // of which everything that runs is one too many
	defer func() { c.app.slots[n] = s }()
	return !c.occupied(n)
}

// occupied tells whether an instance that the slot does not name is still seen on a host.
func (c *container) occupied(n int) bool {
	_, there := c.occupant(n)
	return there
}

// occupant is such an instance.
func (c *container) occupant(n int) (first Observed, there bool) {
	for id, o := range c.p.observed[c.ref] {
		if o.Slot == n && !c.p.lost(o.Host) && !names(c.app.slots[n].Slot, id) && (!there || o.Host < first.Host) {
			first, there = o, true
		}
	}
	return first, there
}

func names(s state.Slot, instance string) bool {
	return s.Current != nil && s.Current.Instance == instance || s.Next != nil && s.Next.Instance == instance
}
