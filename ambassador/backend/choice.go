package backend

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"time"
)

const (
	// So often an endpoint is drawn before all are looked at: most of them can be used.
	draws = 4
	// A new endpoint has at least this part of its share.
	leastWarmth = 0.1
)

// Choice is an endpoint that a connection was given. The connection counts as one of the endpoint's
// from then on, so that connections made at the same time see each other, until Release.
type Choice struct {
	pool   *Pool
	member *member
	trial  bool // it is the one connection that tries an endpoint that was set aside
}

// Choose returns an endpoint for a connection, false if all were tried. Within the best priority
// that has one that is not set aside, it is the less busy of two that are drawn by weight. If all
// are set aside, it is the one that was dialled the longest ago. Endpoints that were tried are left out.
//
// A caller that is named gets the endpoint that it had before, if that is among those to draw from.
func (p *Pool) Choose(caller string, tried []netip.AddrPort, now time.Time) (Choice, bool) {
	at := now.Sub(p.epoch)
	for i := range p.tiers {
		for range draws { // one that was to be tried again may just have been taken
			m := p.pick(&p.tiers[i], caller, tried, at)
			if m == nil {
				break
			}
			if trial, ok := m.claim(at); ok {
				return p.choice(m, caller, trial, at), true
			}
		}
	}
	m := p.stalest(tried)
	if m == nil {
		return Choice{}, false
	}
	m.tried.Store(int64(at)) // others that come now take the next one
	return p.choice(m, caller, false, at), true
}

func (p *Pool) choice(m *member, caller string, trial bool, at time.Duration) Choice {
	m.open.Add(1)
	if caller != "" {
		p.keep(caller, m.Addr, at)
	}
	return Choice{p, m, trial}
}

// pick returns one of the tier that can be used, nil if none can.
func (p *Pool) pick(t *tier, caller string, tried []netip.AddrPort, at time.Duration) *member {
	if caller != "" {
		return p.usual(t, caller, tried, at)
	}
	first := p.lot(t, nil, tried, at)
	if first == nil {
		return p.sift(t, tried, at)
	}
	if second := p.lot(t, first, tried, at); second != nil && p.load(second, at) < p.load(first, at) {
		return second
	}
	return first
}

// lot draws one by weight, other than skip, that can be used; nil if it finds none.
func (p *Pool) lot(t *tier, skip *member, tried []netip.AddrPort, at time.Duration) *member {
	if skip != nil && t.to-t.from == 1 {
		return nil
	}
	for range draws {
		m := p.draw(t, skip)
		switch warmth := p.warmth(m, at); {
		case !m.usable(at) || slices.Contains(tried, m.Addr):
		case warmth == 1 || rand.Float64() < warmth:
			return m
		case skip != nil:
			return nil // else it would be drawn again until it is taken, where there is no other
		}
	}
	return nil
}

// draw returns a member of the tier other than skip, heavier ones more often. There has to be one.
func (p *Pool) draw(t *tier, skip *member) *member {
	var before, skipped int
	if skip != nil {
		skipped = skip.share()
		before = skip.upTo - skipped
	}
	at := rand.IntN(t.total - skipped)
	if skip != nil && at >= before {
		at += skipped
	}
	members := p.members[t.from:t.to]
	return &members[sort.Search(len(members), func(i int) bool { return members[i].upTo > at })]
}

// sift looks at all of the tier and draws from those that can be used, nil if none can.
func (p *Pool) sift(t *tier, tried []netip.AddrPort, at time.Duration) (drawn *member) {
	total := 0
	for i := t.from; i < t.to; i++ {
		m := &p.members[i]
		if !m.usable(at) || slices.Contains(tried, m.Addr) {
			continue
		}
		total += m.share()
		if rand.IntN(total) < m.share() {
			drawn = m
		}
	}
	return drawn
}

// stalest returns the one that was dialled the longest ago, the best priority first among equals.
func (p *Pool) stalest(tried []netip.AddrPort) (oldest *member) {
	for i := range p.members {
		m := &p.members[i]
		if !slices.Contains(tried, m.Addr) && (oldest == nil || m.tried.Load() < oldest.tried.Load()) {
			oldest = m
		}
	}
	return oldest
}

// load is how busy the member is, measured by its present share.
func (p *Pool) load(m *member, at time.Duration) float64 {
	return float64(m.open.Load()) / (float64(m.share()) * p.warmth(m, at))
}

// warmth is the part of its share that a member has: it grows to 1 while its slow start lasts.
func (p *Pool) warmth(m *member, at time.Duration) float64 {
	if m.joined == 0 || at-m.joined >= p.slowStart {
		return 1
	}
	return max(leastWarmth, float64(at-m.joined)/float64(p.slowStart))
}

// Endpoint is where to dial.
func (c *Choice) Endpoint() Endpoint { return c.member.Endpoint }

// Accepted tells that the endpoint could be dialled.
func (c *Choice) Accepted() {
	c.member.accepted()
	c.endTrial()
}

// Failed tells that the endpoint could not be dialled, by its own fault.
func (c *Choice) Failed(now time.Time) {
	c.member.failed(now.Sub(c.pool.epoch))
	c.endTrial()
}

// Release takes the connection off the endpoint, if it still has one.
func (c *Choice) Release() {
	if c.member == nil {
		return
	}
	c.endTrial()
	c.member.open.Add(-1)
	c.member = nil
}

func (c *Choice) endTrial() {
	if c.trial {
		c.trial = false
		c.member.trial.Store(false)
	}
}
