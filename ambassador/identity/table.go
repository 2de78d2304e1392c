package identity

import (
	"maps"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// staleFor is how long a list may show what an event has told to be over: Docker tells that a
// container ended before its own list shows it. Past that the event that took it back was lost.
//
// It is long, for a busy Engine was seen to show a container as running for more than five seconds after
// it had told of its end, with an address that was another's by then.
const staleFor = 5 * time.Minute

// startsWithin is how long Docker takes at most to start a container, from the making of it or from the
// time it joined its network.
const startsWithin = 10 * time.Second

// table is what lists and events of Docker say together. It is pure, and for one goroutine at a time.
//
// An address is used again once its container is gone, and the next one must not inherit the links.
// So an address is its container's from a list that shows it until an event tells that the
// container ended or left the network; Docker tells of that before it starts something else on the
// address. A list is as old as its beginning: of what events have told since then it says nothing.
type table struct {
	seq    int                     // events taken so far
	owners map[netip.Addr]*Caller  // who has an address
	where  map[netip.Addr]string   // the network of each, as the last list showed it
	ours   map[string]*container   // all containers of ours, by ID
	left   map[departure]lastEvent // what lists are not believed about
}

// container is one of ours, whether it runs or not.
type container struct {
	caller *Caller
	active bool                 // it runs, or is about to
	seq    int                  // of the last event about it
	began  time.Time            // when an event told that it is about to run, if one did
	joined map[string]time.Time // when it joined each network, by Docker's clock, as events told
}

// departure is that a container ended, or that it left a network.
type departure struct {
	id      string
	network string // "": all of them
}

// lastEvent is of a departure, or of the return after it.
type lastEvent struct {
	seq  int
	at   time.Time
	away bool
}

func newTable() *table {
	return &table{
		owners: make(map[netip.Addr]*Caller),
		ours:   make(map[string]*container),
		left:   make(map[departure]lastEvent),
	}
}

// apply takes an event about a container or a network.
func (t *table) apply(event docker.Event, now time.Time) {
	t.seq++
	switch event.Type + " " + event.Action {
	case "container create":
		t.create(event, now)
	case "container start":
		t.back(departure{id: event.ID}, now)
		for d := range t.left {
			if d.id == event.ID {
				t.back(d, now)
			}
		}
		t.activate(event.ID, now)
	case "container die":
		t.leave(departure{id: event.ID}, now)
	case "container destroy":
		t.leave(departure{id: event.ID}, now)
		delete(t.ours, event.ID)
	case "network connect":
		t.back(departure{event.Attributes["container"], event.Attributes["name"]}, now)
		t.activate(event.Attributes["container"], now)
		if c, ok := t.ours[event.Attributes["container"]]; ok {
			if c.joined == nil {
				c.joined = make(map[string]time.Time)
			}
			c.joined[event.Attributes["name"]] = event.Time
		}
	case "network disconnect":
		t.leave(departure{event.Attributes["container"], event.Attributes["name"]}, now)
	}
}

// create enters a container before any list shows it: it is about to be started.
func (t *table) create(event docker.Event, now time.Time) {
	if _, ours := event.Attributes[labelCluster]; !ours {
		return
	}
	caller, _ := newCaller(event.ID, event.Attributes["name"], event.Attributes) // the list tells what is wrong with it
	t.ours[event.ID] = &container{caller: caller, active: true, seq: t.seq, began: now}
}

// activate notes that the container starts.
func (t *table) activate(id string, now time.Time) {
	if c, ok := t.ours[id]; ok {
		c.active, c.seq, c.began = true, t.seq, now
	}
}

// leave takes the container's addresses from it: those on the network, or all.
func (t *table) leave(d departure, now time.Time) {
	t.left[d] = lastEvent{t.seq, now, true}
	if c, ok := t.ours[d.id]; ok && d.network == "" {
		c.active, c.seq = false, t.seq
	}
	// Which of its addresses is of which network is not remembered: the others are listed again.
	maps.DeleteFunc(t.owners, func(_ netip.Addr, who *Caller) bool { return who.ID == d.id })
}

// back ends a departure. Lists that began before are not believed, for they may show how it was.
func (t *table) back(d departure, now time.Time) {
	if _, ok := t.left[d]; ok {
		t.left[d] = lastEvent{t.seq, now, false}
	}
}

// replace makes the table anew from a list that began when the table had the seq. Links that cannot
// be read are none, and told.
func (t *table) replace(listed []docker.Container, seq int, now time.Time, told func(name string, err error)) {
	before := t.ours
	t.ours = make(map[string]*container, len(listed))
	t.owners = make(map[netip.Addr]*Caller, len(listed))
	t.where = make(map[netip.Addr]string, len(listed))
	claims := make(map[netip.Addr]int)
	shown := make(map[departure]bool)
	for _, l := range listed {
		c := t.enter(l, before[l.ID], seq, now, told)
		if !l.Runs() {
			continue
		}
		shown[departure{id: l.ID}] = true
		for network, addrs := range l.Addrs {
			on := departure{l.ID, network}
			shown[on] = true
			if !t.believes(departure{id: l.ID}, seq, now) || !t.believes(on, seq, now) {
				continue
			}
			for _, addr := range addrs {
				claims[addr]++
				t.owners[addr], t.where[addr] = c.caller, network
			}
		}
	}
	for addr, n := range claims {
		if n > 1 { // an address that two claim is nobody's
			delete(t.owners, addr)
		}
	}
	for id, c := range before {
		if _, ok := t.ours[id]; !ok && c.seq > seq {
			t.ours[id] = c // made since
		}
	}
	// What a list does not show any more, no later one will.
	maps.DeleteFunc(t.left, func(d departure, last lastEvent) bool {
		return last.seq <= seq && (!last.away || !shown[d] || now.Sub(last.at) > staleFor)
	})
}

// enter takes a container of a list, of which before is what was known.
func (t *table) enter(l docker.Container, before *container, seq int, now time.Time, told func(string, error)) *container {
	caller, err := newCaller(l.ID, l.Name, l.Labels)
	if err != nil {
		told(l.Name, err)
	}
	c := &container{caller: caller}
	c.active = l.Runs() || l.State == "created" || l.State == "restarting"
	if before != nil {
		c.seq, c.began, c.joined = before.seq, before.began, before.joined
		switch {
		case before.seq > seq:
			c.active = before.active
		case now.Sub(before.began) < startsWithin: // one that starts again shows as ended for a while
			c.active = c.active || before.active
		}
	}
	t.ours[l.ID] = c
	return c
}

// believes says whether a list that began when the table had the seq may tell that the container
// has not gone.
func (t *table) believes(d departure, seq int, now time.Time) bool {
	last, ok := t.left[d]
	return !ok || last.seq <= seq && (!last.away || now.Sub(last.at) > staleFor)
}

// gotAfter says whether the address's owner is known to have joined its network after the time.
func (t *table) gotAfter(addr netip.Addr, at time.Time) bool {
	who, ok := t.owners[addr]
	if !ok {
		return false
	}
	c, ok := t.ours[who.ID]
	return ok && c.joined[t.where[addr]].After(at)
}

// expecting says whether a container is about to run that has no address yet.
func (t *table) expecting(now time.Time) bool {
	known := make(map[string]bool)
	for _, who := range t.owners {
		known[who.ID] = true
	}
	for id, c := range t.ours {
		if c.active && !known[id] && now.Sub(c.began) < startsWithin {
			return true
		}
	}
	return false
}

// wanted are the ports of links, each with the first container that has such a link.
func (t *table) wanted() map[int]string {
	wanted := make(map[int]string)
	for _, c := range t.ours {
		if !c.active {
			continue
		}
		for port := range c.caller.Links {
			if name, ok := wanted[port]; !ok || c.caller.Name < name {
				wanted[port] = c.caller.Name
			}
		}
	}
	return wanted
}
