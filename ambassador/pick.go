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

// order returns the endpoints in the order in which to try them: those that just failed last,
// by priority, and among equals the less busy of two that are drawn by weight.
func (l *loads) order(endpoints []endpoint) []endpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	type rank struct {
		failed   bool
		priority uint16
	}
	rankOf := func(e endpoint) rank {
		at, failed := l.failed[e.addr]
		return rank{failed && now.Sub(at) < grudge, e.priority}
	}
	left := slices.Clone(endpoints)
	slices.SortStableFunc(left, func(a, b endpoint) int {
		ra, rb := rankOf(a), rankOf(b)
		switch {
		case ra.failed != rb.failed && rb.failed:
			return -1
		case ra.failed != rb.failed:
			return 1
		}
		return int(ra.priority) - int(rb.priority)
	})
	ordered := make([]endpoint, 0, len(left))
	for len(left) > 0 {
		equals := 1
		for equals < len(left) && rankOf(left[equals]) == rankOf(left[0]) {
			equals++
		}
		for ; equals > 0; equals-- {
			i := choose(left[:equals], l.open, rand.IntN)
			ordered = append(ordered, left[i])
			left = slices.Delete(left, i, i+1)
		}
	}
	return ordered
}

// choose draws two endpoints by weight and returns the index of the less busy one, measured
// by its weight. random(n) is a number from 0 to n-1.
func choose(equals []endpoint, open map[netip.AddrPort]int, random func(int) int) int {
	first := draw(equals, -1, random)
	if len(equals) == 1 {
		return first
	}
	second := draw(equals, first, random)
	busyFirst := open[equals[first].addr] * weightOf(equals[second])
	busySecond := open[equals[second].addr] * weightOf(equals[first])
	if busySecond < busyFirst {
		return second
	}
	return first
}

// draw returns the index of an endpoint other than skip, heavier ones more often.
func draw(equals []endpoint, skip int, random func(int) int) int {
	total := 0
	for i, e := range equals {
		if i != skip {
			total += weightOf(e)
		}
	}
	at := random(total)
	last := 0
	for i, e := range equals {
		if i == skip {
			continue
		}
		if at < weightOf(e) {
			return i
		}
		at -= weightOf(e)
		last = i
	}
	return last
}

// weightOf gives an endpoint of weight 0 a small chance, as RFC 2782 wants it.
func weightOf(e endpoint) int { return max(1, int(e.weight)) }
