package agent

import (
	"bytes"
	"encoding/json"
	"maps"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// Place is a slot of a container.
type Place struct {
	state.Ref
	Slot int
}

// assignments keeps what the keys below /apps assign to a host. A cluster has many slots and a host
// few, so it reads a key again only when it changed, and keeps what it read only of its own.
type assignments struct {
	hostIP string
	apps   Mirror

	seen       store.Snapshot          // that the rest is from
	containers map[state.Ref]*resident // that have a slot here, or one that cannot be read
	byInstance map[string]Desired      // never changed, but made anew
	unreadable map[Place]bool          // likewise
}

// resident is what is known of a container with slots on this host.
type resident struct {
	slots     map[int]slot
	revisions revisions
}

// slot is what a slot key assigns to this host.
type slot struct {
	unreadable bool
	here       []assignment
	instances  []string // of what is here, as they were last described
}

type assignment struct {
	state.Assignment
	next bool
}

func newAssignments(hostIP string, apps Mirror) *assignments {
	return &assignments{hostIP: hostIP, apps: apps, containers: map[state.Ref]*resident{}}
}

// look reads what this host is to run, by instance. Of slots that cannot be read it is not known
// whether they assign something: their instances stay as they are. Neither map may be changed.
func (a *assignments) look(snapshot store.Snapshot) (byInstance map[string]Desired, unreadable map[Place]bool) {
	changed, all := a.apps.Changed(a.seen, snapshot)
	if all || a.byInstance == nil {
		a.containers, a.byInstance, a.unreadable = map[state.Ref]*resident{}, map[string]Desired{}, map[Place]bool{}
		changed = nil
		for node := range snapshot.All(state.AppsDir) {
			changed = append(changed, node.Key)
		}
	}
	a.seen = snapshot
	a.describe(snapshot, a.read(snapshot, changed))
	return a.byInstance, a.unreadable
}

// read takes in the keys that changed, and returns the slots that are to be described anew.
func (a *assignments) read(snapshot store.Snapshot, changed []string) map[Place]bool {
	anew := map[Place]bool{}
	for _, key := range changed {
		switch k, ok := state.ParseAppKey(key); {
		case !ok:
		case k.Kind == "hosts":
			place := Place{k.Ref, k.Item}
			if a.readSlot(place, snapshot) {
				anew[place] = true
			}
		case k.Kind == "revisions":
			if c := a.containers[k.Ref]; c != nil {
				c.revisions = nil
				for n := range c.slots {
					anew[Place{k.Ref, n}] = true
				}
			}
		}
	}
	return anew
}

// readSlot takes in a slot key, and tells whether it says or said anything to this host.
func (a *assignments) readSlot(place Place, snapshot store.Snapshot) bool {
	var now slot
	if node, there := snapshot.Get(place.SlotKey(place.Slot)); there {
		now = a.slotOf(node.Value)
	}
	c := a.containers[place.Ref]
	before, had := slot{}, false
	if c != nil {
		before, had = c.slots[place.Slot]
	}
	if !now.unreadable && len(now.here) == 0 && !had {
		return false
	}
	if c == nil {
		c = &resident{slots: map[int]slot{}}
		a.containers[place.Ref] = c
	}
	now.instances = before.instances
	c.slots[place.Slot] = now
	return true
}

// slotOf reads the value of a slot key.
func (a *assignments) slotOf(value string) slot {
	read, ok := readSlot(value)
	if !ok {
		return slot{unreadable: true}
	}
	var s slot
	if read.Current != nil && read.Current.Host == a.hostIP {
		s.here = append(s.here, assignment{*read.Current, false})
	}
	if read.Next != nil && read.Next.Host == a.hostIP {
		s.here = append(s.here, assignment{*read.Next, true})
	}
	return s
}

// readSlot reads a slot key; ok is false for what the scheduler would not write.
func readSlot(value string) (slot state.Slot, ok bool) {
	data := bytes.TrimSpace([]byte(value))
	if len(data) == 0 || data[0] != '{' || json.Unmarshal(data, &slot) != nil { // null is a Slot to json, but none to us
		return state.Slot{}, false
	}
	for _, a := range []*state.Assignment{slot.Current, slot.Next} {
		if a != nil && (a.Host == "" || a.Instance == "") {
			return state.Slot{}, false
		}
	}
	return slot, true
}

// describe makes what the slots come to.
func (a *assignments) describe(snapshot store.Snapshot, places map[Place]bool) {
	if len(places) == 0 {
		return
	}
	a.byInstance, a.unreadable = maps.Clone(a.byInstance), maps.Clone(a.unreadable)
	for place := range places { // an instance that moved from one slot to another is in both
		for _, id := range a.containers[place.Ref].slots[place.Slot].instances {
			delete(a.byInstance, id)
		}
		delete(a.unreadable, place)
	}
	for place := range places {
		c := a.containers[place.Ref]
		s := c.slots[place.Slot]
		s.instances = nil
		for _, assigned := range s.here {
			s.instances = append(s.instances, assigned.Instance)
			a.byInstance[assigned.Instance] = c.describe(place, assigned, snapshot)
		}
		c.slots[place.Slot] = s
		switch {
		case s.unreadable:
			a.unreadable[place] = true
		case len(s.here) == 0:
			delete(c.slots, place.Slot)
		}
		if len(c.slots) == 0 {
			delete(a.containers, place.Ref)
		}
	}
}
