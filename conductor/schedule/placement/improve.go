package placement

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"unique"
)

// Candidate is an instance that may be moved.
type Candidate struct {
	Demand *Demand
	Slot   int // for the caller to know it by
}

// Move takes an instance from one host to another.
type Move struct {
	Candidate
	From, To string
}

// Improve finds the one move that is next to balance the hosts that take new instances; ok is
// false if there is none. candidates are the instances on a host that may be moved.
//
// First a move evens out the totals: from the fullest host to the emptiest that is suitable, if
// these differ by two or more, and never so that it brings copies together. If there is none, a
// move takes copies of a container apart that share a host, if the totals get no less even.
//
// So each move lowers the sum of the squares of the hosts' totals, or keeps it and lowers that of
// the copies: whoever carries out the moves comes to an end, and never back to where he was.
func (m *Map) Improve(candidates func(ip string) []Candidate) (move Move, ok bool) {
	if len(m.open) < 2 {
		return Move{}, false
	}
	asked := map[string][]Candidate{}
	once := func(ip string) []Candidate {
		if _, ok := asked[ip]; !ok {
			asked[ip] = candidates(ip)
		}
		return asked[ip]
	}
	if move, ok = m.level(once); ok {
		return move, ok
	}
	return m.part(once)
}

// level finds the move that evens out totals most.
func (m *Map) level(candidates func(string) []Candidate) (best Move, ok bool) {
	emptiest := map[unique.Handle[string]]int{}
	for _, from := range slices.Backward(m.open) {
		if from.total < m.open[0].total+2 {
			break
		}
		total, gain := from.total-2, 0
		for _, c := range candidates(from.IP) {
			// Whatever else it asks for: without this, hosts that must stay full cost a walk for
			// each candidate.
			lowest, known := emptiest[c.Demand.taste]
			if !known {
				lowest = m.emptiest(m.tasteOf(c.Demand))
				emptiest[c.Demand.taste] = lowest
			}
			if lowest > total {
				continue
			}
			l := m.leaving(c.Demand, from)
			for _, h := range m.open {
				if h.total > total {
					break
				}
				if g := l.gain(h); g > 0 && (h.total < total || g > gain) && l.mayGo(h) {
					best, total, gain, ok = Move{c, from.IP, h.IP}, h.total, g, true
				}
			}
		}
		if ok {
			break
		}
	}
	return best, ok
}

// emptiest is the lowest total of the open hosts that meet the constraints of a taste.
func (m *Map) emptiest(t *taste) int {
	for _, h := range m.open {
		if t.refusal(h) == "" {
			return h.total
		}
	}
	return m.open[len(m.open)-1].total
}

// part finds the move that takes copies apart most.
func (m *Map) part(candidates func(string) []Candidate) (best Move, ok bool) {
	gain := 1 // a move from n copies to n-1 only swaps the hosts
	for _, c := range slices.SortedFunc(maps.Keys(m.doubled), byRef) {
		for _, from := range m.crowded(c, gain) {
			for _, candidate := range candidates(from.IP) {
				if candidate.Demand.Ref != c.ref {
					continue
				}
				l := m.leaving(candidate.Demand, from)
				for _, h := range m.open {
					if h.total >= from.total {
						break
					}
					if g := l.gain(h); g > gain && l.mayGo(h) {
						best, gain, ok = Move{candidate, from.IP, h.IP}, g, true
					}
				}
			}
		}
	}
	return best, ok
}

func byRef(a, b *container) int {
	return cmp.Or(strings.Compare(a.ref.App, b.ref.App), strings.Compare(a.ref.Name, b.ref.Name))
}

// crowded are the open hosts, the fullest first, where a container has so many copies more than
// elsewhere that moving one could gain more than that.
func (m *Map) crowded(c *container, gain int) []*host {
	least, open := math.MaxInt, 0
	for h, n := range c.at {
		if h.open() {
			least = min(least, n)
			open++
		}
	}
	if open < len(m.open) {
		least = 0
	}
	var crowded []*host
	for h, n := range c.at {
		if h.open() && n-least > gain && h.total > m.open[0].total {
			crowded = append(crowded, h)
		}
	}
	slices.SortFunc(crowded, func(a, b *host) int { return byLoad(b, a) })
	return crowded
}

// leaving is an instance that might be better off elsewhere.
type leaving struct {
	*query
	from  *host
	least int  // score that it has now
	stuck bool // others need it there
}

// leaving looks at an instance that is counted on a host.
func (m *Map) leaving(d *Demand, from *host) leaving {
	l := leaving{query: m.query(d, Options{Instead: from.IP}), from: from}
	l.count()
	l.least = l.score(from)
	l.stuck = l.leaves == nil || l.copies(from) == 0 && l.container.needed[from] > 0
	return l
}

// gain is how many copies fewer the other host has.
func (l *leaving) gain(to *host) int { return l.copies(l.from) + 1 - l.copies(to) }

// mayGo tells whether the other host will do, no preference is given up, and nobody who must be
// near is left alone.
func (l *leaving) mayGo(to *host) bool {
	return !l.stuck && to != l.from && l.score(to) >= l.least && l.refusal(to) == ""
}
