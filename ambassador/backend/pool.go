// Package backend knows the endpoints of services, how they fare, and which of them gets the next
// connection. It is told the time and what happens, and does no I/O.
package backend

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Endpoint is where an instance of a service can be reached, as its SRV record says.
type Endpoint struct {
	Addr     netip.AddrPort
	Priority uint16 // lower ones come first
	Weight   uint16 // its share among those of its priority
}

// Pool is the endpoints of a service as one answer of the name server has them. It does not change;
// how its endpoints fare does, and passes on to the pool after it. It may be used by several
// goroutines at a time.
type Pool struct {
	members []member // by priority and address
	tiers   []tier   // those of one priority each, the best first
	*history
}

// history is what all pools of a service share.
type history struct {
	epoch     time.Time // that durations count from
	slowStart time.Duration
	habits
}

// member is an endpoint of a pool.
type member struct {
	Endpoint
	hash   uint64        // of its address
	upTo   int           // the weights of all in its tier up to it
	joined time.Duration // since the epoch; 0: it was there before us, or with the first
	*condition
}

// tier is the members of one priority, of which one of thousands is drawn at once.
type tier struct{ from, to, total int }

// New makes the pool of a service of which nothing was heard yet. A new endpoint's share will grow
// for as long as slowStart says, if there are others.
func New(now time.Time, slowStart time.Duration) *Pool {
	return &Pool{history: &history{epoch: now, slowStart: slowStart}}
}

// Renew returns the pool of a new answer. What is known of the endpoints that stay is kept.
func (p *Pool) Renew(endpoints []Endpoint, now time.Time) *Pool {
	endpoints = slices.Clone(endpoints)
	slices.SortFunc(endpoints, compare)
	endpoints = slices.CompactFunc(endpoints, func(a, b Endpoint) bool { return a.Addr == b.Addr && a.Priority == b.Priority })
	p.forget(now)
	if p.has(endpoints) {
		return p
	}
	known := make(map[netip.AddrPort]*member, len(p.members))
	for i := range p.members {
		known[p.members[i].Addr] = &p.members[i]
	}
	next := &Pool{members: make([]member, len(endpoints)), history: p.history}
	stayed := false
	for i, e := range endpoints {
		next.members[i] = member{Endpoint: e, hash: hashOfAddr(e.Addr), joined: now.Sub(p.epoch)}
		if old := known[e.Addr]; old != nil {
			stayed = true
			next.members[i].joined, next.members[i].condition = old.joined, old.condition
		} else {
			next.members[i].condition = new(condition)
		}
	}
	if !stayed || p.slowStart <= 0 {
		for i := range next.members {
			next.members[i].joined = 0
		}
	}
	next.divide()
	return next
}

// compare orders by priority and address.
func compare(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Addr.Compare(b.Addr), cmp.Compare(b.Weight, a.Weight))
}

// has says whether the pool is just these endpoints, in order.
func (p *Pool) has(endpoints []Endpoint) bool {
	return slices.EqualFunc(p.members, endpoints, func(m member, e Endpoint) bool { return m.Endpoint == e })
}

// divide finds the tiers.
func (p *Pool) divide() {
	for i := range p.members {
		m := &p.members[i]
		if i == 0 || m.Priority != p.members[i-1].Priority {
			p.tiers = append(p.tiers, tier{from: i})
		}
		t := &p.tiers[len(p.tiers)-1]
		t.total += m.share()
		t.to, m.upTo = i+1, t.total
	}
}

// share is the endpoint's weight. That of weight 0 has a small chance, as RFC 2782 wants it.
func (e Endpoint) share() int { return max(1, int(e.Weight)) }

// Len is the number of endpoints.
func (p *Pool) Len() int { return len(p.members) }

// Failed tells that the endpoint could not be dialled, by who did not Choose it.
func (p *Pool) Failed(addr netip.AddrPort, now time.Time) {
	for i := range p.members {
		if p.members[i].Addr == addr {
			p.members[i].failed(now.Sub(p.epoch))
		}
	}
}

// Contains says whether the endpoint is one of the pool's.
func (p *Pool) Contains(addr netip.AddrPort) bool {
	return slices.ContainsFunc(p.members, func(m member) bool { return m.Addr == addr })
}

// Settled says whether all endpoints have their whole share: none is in its slow start.
func (p *Pool) Settled(now time.Time) bool {
	at := now.Sub(p.epoch)
	return !slices.ContainsFunc(p.members, func(m member) bool { return p.warmth(&m, at) < 1 })
}

// Status is how an endpoint fares.
type Status struct {
	Endpoint
	Open     int  // connections
	SetAside bool // it could not be dialled lately
}

// Status returns all endpoints, the best priority first.
func (p *Pool) Status() []Status {
	all := make([]Status, len(p.members))
	for i := range p.members {
		m := &p.members[i]
		all[i] = Status{m.Endpoint, int(m.open.Load()), m.isAside()}
	}
	return all
}
