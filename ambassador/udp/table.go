package udp

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// table has the flows by whose they are. No lock of a flow is taken under its own.
type table struct {
	max, maxPerSource int

	mu       sync.Mutex
	flows    map[key]*flow
	bySource map[netip.Addr]*list.List // of *flow, what was not used for the longest time first
}

// key tells flows apart.
type key struct {
	door   *door
	source netip.AddrPort
}

func newTable(most, mostPerSource int) *table {
	return &table{max: most, maxPerSource: mostPerSource, flows: make(map[key]*flow), bySource: make(map[netip.Addr]*list.List)}
}

// get returns the flow of the source at the door. A new one takes the place of another, which is
// evicted and has to be ended, where there are as many as there may be: of its own source, so that
// nobody's flood costs others, or of all if its source has none.
func (t *table) get(d *door, source netip.AddrPort, now time.Time) (f, evicted *flow) {
	k := key{d, source}
	t.mu.Lock()
	defer t.mu.Unlock()
	if f = t.flows[k]; f != nil {
		t.use(f, now)
		return f, nil
	}
	own := t.bySource[source.Addr()]
	switch {
	case own != nil && (own.Len() >= t.maxPerSource || len(t.flows) >= t.max):
		evicted = own.Front().Value.(*flow)
	case len(t.flows) >= t.max:
		evicted = t.oldest()
	}
	if evicted != nil {
		t.drop(evicted)
	}
	f = newFlow(d, source, now)
	if own = t.bySource[source.Addr()]; own == nil { // it may have gone with the evicted
		own = list.New()
		t.bySource[source.Addr()] = own
	}
	f.place = own.PushBack(f)
	t.flows[k] = f
	d.flows++
	return f, evicted
}

// oldest is the flow that was not used for the longest time. t.mu is held.
func (t *table) oldest() (oldest *flow) {
	for _, of := range t.bySource {
		if first := of.Front().Value.(*flow); oldest == nil || first.used.Before(oldest.used) {
			oldest = first
		}
	}
	return oldest
}

// touch notes that the flow was used.
func (t *table) touch(f *flow, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.place != nil {
		t.use(f, now)
	}
}

// use does the same. t.mu is held.
func (t *table) use(f *flow, now time.Time) {
	f.used = now
	t.bySource[f.source.Addr()].MoveToBack(f.place)
}

// remove takes the flow out, if it is still there.
func (t *table) remove(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.place != nil {
		t.drop(f)
	}
}

// drop takes the flow out. t.mu is held.
func (t *table) drop(f *flow) {
	delete(t.flows, key{f.door, f.source})
	of := t.bySource[f.source.Addr()]
	of.Remove(f.place)
	if of.Len() == 0 {
		delete(t.bySource, f.source.Addr())
	}
	f.place = nil
}

// leave notes that the flow, which was removed, uses its door no more, and tells whether nobody does.
func (t *table) leave(f *flow) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.door.flows--
	return f.door.closed && f.door.flows == 0
}

// shut notes that the door is read no more, and tells whether nobody uses it.
func (t *table) shut(d *door) (unused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d.closed = true
	return d.flows == 0
}

// quiet is for how long the flow carried nothing, and whether its door is read no more.
func (t *table) quiet(f *flow, now time.Time) (quiet time.Duration, shut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(f.used), f.door.closed
}

// all returns the flows that there are.
func (t *table) all() []*flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	flows := make([]*flow, 0, len(t.flows))
	for _, f := range t.flows {
		flows = append(flows, f)
	}
	return flows
}
