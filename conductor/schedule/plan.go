package schedule

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// keepRevisions is how many revisions are kept beside those in use.
const keepRevisions = 10

// Compute plans one pass. The same input gives the same plan but for the ids of new instances,
// and planning on the result of carrying a plan out gives an empty one.
func Compute(in Input) []Change {
	accepted := accept(in.Apps)
	p := newPlacement(in)
	var changes []Change
	for _, ref := range slices.SortedFunc(maps.Keys(in.Apps), compareRefs) {
		c := &container{in: &in, ref: ref, app: in.Apps[ref].clone(), accepted: accepted[ref], placement: p}
		c.plan()
		changes = append(changes, c.changes...)
	}
	return changes
}

// container is the planning of one container.
type container struct {
	in        *Input
	ref       state.Ref
	app       *App
	accepted  accepted
	placement *placement

	changes  []Change
	revision int            // in force, 0 if there is none
	wanted   int            // slots
	reasons  map[int]string // why a slot is not placed
}

func (c *container) plan() {
	c.reasons = map[int]string{}
	if c.app.Manifest == nil {
		c.remove()
		return
	}
	c.revision = c.app.latest()
	c.wanted = c.app.wantedNow() // what a refused manifest leaves as it is
	if m := c.accepted.Manifest; m != nil {
		c.revise(m)
		c.wanted = m.Scale
		c.fill(upTo(m.Scale))
		c.vacateAbove(c.wanted)
	} else {
		c.keep()
	}
	c.forgetRevisions()
	c.report()
}

// remove takes everything away after the user removed the manifest: slots are vacated, their
// keys go when their instances are gone, and then all the rest.
func (c *container) remove() {
	c.vacateAbove(0)
	if len(c.app.Slots) > 0 {
		return
	}
	for _, n := range slices.Sorted(maps.Keys(c.app.Revisions)) {
		c.change(Change{Kind: Delete, Key: c.ref.RevisionKey(n), Reason: "the manifest was removed"})
	}
	for _, key := range slices.Sorted(slices.Values(c.app.Other)) {
		c.change(Change{Kind: Delete, Key: key, Reason: "the manifest was removed"})
	}
	if c.app.Status != "" {
		c.change(Change{Kind: Delete, Key: c.ref.StatusKey(), Reason: "the manifest was removed"})
	}
	for _, dir := range []string{"/hosts", "/revisions", ""} {
		c.change(Change{Kind: Prune, Key: c.ref.Dir() + dir, Reason: "the manifest was removed"})
	}
}

// revise makes a new revision if the manifest asks for other containers than the newest one.
func (c *container) revise(m *manifest.Manifest) {
	revision := newRevision(m, c.app.Manifest.Modified)
	if c.revision > 0 && c.app.Revisions[c.revision].Hash == revision.Hash {
		return
	}
	c.revision++
	c.app.Revisions[c.revision] = revision
	c.change(Change{Kind: Create, Key: c.ref.RevisionKey(c.revision), Value: marshal(revision), Reason: state.ReasonRevision})
}

// fill brings the slots one step nearer to a healthy instance each of the revision in force.
func (c *container) fill(numbers []int) {
	before := maps.Clone(c.app.Slots)
	for _, n := range numbers {
		slot := c.app.Slots[n]
		if slot.Unreadable {
			slot.Slot = c.rebuild(n)
		}
		slot.Slot = c.review(slot.Slot)
		c.app.Slots[n] = slot
	}
	for _, n := range numbers {
		next, why := c.step(n, c.app.Slots[n].Slot)
		if why != "" {
			c.reasons[n] = why
		}
		c.write(n, before[n], next)
	}
}

// upTo is 1..n.
func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	return numbers
}

// keep leaves the slots that there are, of a container whose manifest was refused.
func (c *container) keep() {
	if c.revision == 0 {
		return // and there is nothing that they could be moved with
	}
	var kept []int
	for _, n := range c.app.slotNumbers() {
		if c.app.Slots[n].wanted() {
			kept = append(kept, n)
		} else {
			c.vacate(n)
		}
	}
	c.fill(kept)
}

// vacateAbove gives up the slots above n; their keys go when nothing of them runs any more.
func (c *container) vacateAbove(n int) {
	for _, number := range c.app.slotNumbers() {
		if number > n {
			c.vacate(number)
		}
	}
}

func (c *container) vacate(n int) {
	slot := c.app.Slots[n]
	switch {
	case !c.occupied(n):
		c.change(Change{Kind: Delete, Key: c.ref.SlotKey(n), PrevIndex: slot.Modified, Reason: "nothing runs in the slot any more"})
		delete(c.app.Slots, n)
	case slot.wanted():
		c.write(n, slot, state.Slot{Generation: slot.Generation})
	}
}

// occupied tells whether an instance of the slot was still seen on a host.
func (c *container) occupied(n int) bool {
	for _, o := range c.in.Observed {
		if o.Ref == c.ref && o.Slot == n {
			return true
		}
	}
	return false
}

// write changes a slot key unless it is so already.
func (c *container) write(n int, slot Slot, to state.Slot) {
	value := marshal(to)
	if slot.Modified != 0 && !slot.Unreadable && marshal(slot.Slot) == value {
		return
	}
	change := Change{Kind: Swap, Key: c.ref.SlotKey(n), Value: value, PrevIndex: slot.Modified, Reason: reasonOf(slot.Slot, to)}
	if slot.Modified == 0 {
		change.Kind = Create
	}
	c.change(change)
	slot.Slot, slot.Unreadable = to, false
	c.app.Slots[n] = slot
}

func reasonOf(from, to state.Slot) string {
	switch {
	case to.Current == nil && to.Next == nil:
		return "the slot is not wanted any more"
	case to.Next != nil && (from.Next == nil || from.Next.Instance != to.Next.Instance):
		return fmt.Sprintf("%s: next on %s", to.Next.Reason, to.Next.Host)
	case to.Current != nil && from.Next != nil && from.Next.Instance == to.Current.Instance:
		return "the next instance is healthy"
	case to.Current != nil && (from.Current == nil || from.Current.Instance != to.Current.Instance):
		return fmt.Sprintf("%s: on %s", to.Current.Reason, to.Current.Host)
	}
	return "the next instance is not needed any more"
}

// forgetRevisions removes old revisions that no slot uses.
func (c *container) forgetRevisions() {
	used := map[int]bool{}
	for _, slot := range c.app.Slots {
		for _, a := range []*state.Assignment{slot.Current, slot.Next} {
			if a != nil {
				used[a.Revision] = true
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(c.app.Revisions)) {
		if n <= c.revision-keepRevisions && !used[n] {
			c.change(Change{Kind: Delete, Key: c.ref.RevisionKey(n), Reason: "old and not used any more"})
		}
	}
}

func (c *container) change(change Change) { c.changes = append(c.changes, change) }

func marshal(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of package state can be marshalled
	}
	return string(data)
}
