package ambassador

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// grudge is how long an endpoint that could not be dialled is tried after all others.
const grudge = 3 * time.Second

// loads knows how busy each endpoint is.
type loads struct {
	mu     sync.Mutex
	open   map[netip.AddrPort]int
	failed map[netip.AddrPort]time.Time
}

func newLoads() *loads {
	return &loads{open: make(map[netip.AddrPort]int), failed: make(map[netip.AddrPort]time.Time)}
}

// opened counts a connection to addr until the returned function is called.
func (l *loads) opened(addr netip.AddrPort) (closed func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[addr]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open[addr]--; l.open[addr] == 0 {
			delete(l.open, addr)
		}
	}
}

// refused remembers that addr could not be dialled.
func (l *loads) refused(addr netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for other, at := range l.failed {
		if now.Sub(at) > grudge {
			delete(l.failed, other)
		}
	}
	l.failed[addr] = now
}

// next returns the endpoint to dial after those that were tried, false if there is none: first those
// that did not just fail, by priority, and among equals the less busy of two that are drawn by weight.
func (l *loads) next(p *pool, tried []netip.AddrPort) (endpoint, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(tried) == 0 && len(p.all) > 0 {
		chosen, other := p.choose(l.busy, rand.IntN)
		if !l.holdsAgainst(p.all[chosen], now) && !l.holdsAgainst(p.all[other], now) {
			return p.all[chosen], true
		}
	}
	equals := l.best(p, tried, now)
	if len(equals) == 0 {
		return endpoint{}, false
	}
	rest := newPool(equals)
	chosen, _ := rest.choose(l.busy, rand.IntN)
	return rest.all[chosen], true
}

// best returns the endpoints from which to choose. l.mu is held.
func (l *loads) best(p *pool, tried []netip.AddrPort, now time.Time) (equals []endpoint) {
	var failed []endpoint // of the best priority among those
	for _, e := range p.all {
		switch {
		case len(equals) > 0 && e.priority != equals[0].priority:
			return equals
		case slices.Contains(tried, e.addr):
		case !l.holdsAgainst(e, now):
			equals = append(equals, e)
		case len(failed) == 0 || e.priority == failed[0].priority:
			failed = append(failed, e)
		}
	}
	if len(equals) == 0 {
		return failed
	}
	return equals
}

// holdsAgainst says whether the endpoint just failed. l.mu is held.
func (l *loads) holdsAgainst(e endpoint, now time.Time) bool {
	at, failed := l.failed[e.addr]
	return failed && now.Sub(at) < grudge
}

// busy is how many connections are open. l.mu is held.
func (l *loads) busy(e endpoint) int { return l.open[e.addr] }
