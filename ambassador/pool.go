package ambassador

import (
	"cmp"
	"slices"
)

// pool is the endpoints of a service, so arranged that one of thousands is drawn at once. It does
// not change.
type pool struct {
	all  []endpoint // by priority
	upTo []int      // for each of the best priority, the weights of all up to it
}

func newPool(endpoints []endpoint) *pool {
	p := &pool{all: slices.Clone(endpoints)}
	slices.SortStableFunc(p.all, func(a, b endpoint) int { return cmp.Compare(a.priority, b.priority) })
	total := 0
	for _, e := range p.all {
		if e.priority != p.all[0].priority {
			break
		}
		total += weightOf(e)
		p.upTo = append(p.upTo, total)
	}
	return p
}

// draw returns the index of an endpoint of the best priority, other than skip, heavier ones more
// often. There has to be one; random(n) is a number from 0 to n-1.
func (p *pool) draw(skip int, random func(int) int) int {
	total := p.upTo[len(p.upTo)-1]
	var before, skipped int
	if skip >= 0 {
		skipped = weightOf(p.all[skip])
		before = p.upTo[skip] - skipped
	}
	at := random(total - skipped)
	if skip >= 0 && at >= before {
		at += skipped
	}
	i, _ := slices.BinarySearch(p.upTo, at+1)
	return i
}

// choose draws two endpoints by weight and returns the index of the less busy one, measured
// by its weight, and that of the other, which is the same if there is no other.
func (p *pool) choose(busy func(endpoint) int, random func(int) int) (chosen, other int) {
	first := p.draw(-1, random)
	if len(p.upTo) == 1 {
		return first, first
	}
	second := p.draw(first, random)
	if busy(p.all[second])*weightOf(p.all[first]) < busy(p.all[first])*weightOf(p.all[second]) {
		return second, first
	}
	return first, second
}

// weightOf gives an endpoint of weight 0 a small chance, as RFC 2782 wants it.
func weightOf(e endpoint) int { return max(1, int(e.weight)) }
