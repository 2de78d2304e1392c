package placement

import (
	"math"

	"github.com/dokkaa/dokkaa/manifest"
)

// taste is what demands think of hosts by their attributes alone. Each host is judged once, and
// again when its attributes change.
type taste struct {
	constraints []condition
	refusals    []string // by constraint
	affinities  []condition
	weights     []int // by affinity
	spread      []manifest.Spread
	weight      int // of all affinities and spreads together, without their signs

	verdicts []verdict        // by host.index
	values   []int            // by host.index and spread: number of the host's value
	numbers  []map[string]int // by spread: of each value
}

type verdict struct {
	version  int // host.version that was judged
	failed   int // 1 + the first constraint that is not met, 0 if all are
	affinity int // weights of the affinities that are met
}

// steps is how finely preferences are told apart: in tenths of all weights together. What differs
// by less is decided by balance.
const steps = 10

// maxTastes bounds what is kept; it is all found out again.
const maxTastes = 1000

// tasteOf is nil for a demand that takes all hosts alike.
func (m *Map) tasteOf(d *Demand) *taste {
	if d.taste == "" {
		return nil
	}
	t := m.tastes[d.taste]
	if t == nil {
		if len(m.tastes) == maxTastes {
			clear(m.tastes)
		}
		t = newTaste(d)
		m.tastes[d.taste] = t
	}
	return t
}

func newTaste(d *Demand) *taste {
	t := &taste{spread: d.spread, numbers: make([]map[string]int, len(d.spread))}
	for _, c := range d.constraints {
		t.constraints = append(t.constraints, newCondition(c))
		t.refusals = append(t.refusals, "constraint "+c.String())
	}
	for _, a := range d.affinities {
		t.affinities = append(t.affinities, newCondition(a.Condition))
		t.weights = append(t.weights, a.Weight)
		t.weight += max(a.Weight, -a.Weight)
	}
	for i, s := range d.spread {
		t.numbers[i] = map[string]int{}
		t.weight += s.Weight
	}
	return t
}

func (t *taste) of(h *host) *verdict {
	for len(t.verdicts) <= h.index {
		t.verdicts = append(t.verdicts, verdict{})
		t.values = append(t.values, make([]int, len(t.spread))...)
	}
	v := &t.verdicts[h.index]
	if v.version != h.version {
		*v = t.judge(h)
	}
	return v
}

func (t *taste) judge(h *host) verdict {
	v := verdict{version: h.version}
	for i := range t.constraints {
		if !t.constraints[i].met(h.Host) {
			v.failed = i + 1
			break
		}
	}
	for i := range t.affinities {
		if t.affinities[i].met(h.Host) {
			v.affinity += t.weights[i]
		}
	}
	for i, s := range t.spread {
		value, _ := h.attribute(s.Attribute)
		n, ok := t.numbers[i][value]
		if !ok {
			n = len(t.numbers[i])
			t.numbers[i][value] = n
		}
		t.values[h.index*len(t.spread)+i] = n
	}
	return v
}

// refusal is the first constraint that the host does not meet, "" if there is none.
func (t *taste) refusal(h *host) string {
	if t == nil {
		return ""
	}
	if failed := t.of(h).failed; failed > 0 {
		return t.refusals[failed-1]
	}
	return ""
}

// prefers tells whether it likes some hosts better than others.
func (t *taste) prefers() bool { return t != nil && t.weight > 0 }

// census counts a container's instances by spread and number of the value.
func (t *taste) census(c *container) [][]int {
	if !t.prefers() || len(t.spread) == 0 {
		return nil
	}
	census := make([][]int, len(t.spread))
	if c != nil {
		for h, n := range c.at {
			t.enter(census, h, n)
		}
	}
	return census
}

// enter counts n more instances on a host. What is on a host of unknown attributes has no value.
func (t *taste) enter(census [][]int, h *host, n int) {
	if len(census) == 0 || !h.known {
		return
	}
	t.of(h)
	for i, number := range t.values[h.index*len(t.spread):][:len(t.spread)] {
		for len(census[i]) <= number {
			census[i] = append(census[i], 0)
		}
		census[i][number] += n
	}
}

// score is how much a host is preferred, in steps. An affinity counts its weight; with a spread,
// each instance that the host's value has already costs the weight. So one instance more than
// elsewhere weighs as much as an affinity of the same weight.
func (t *taste) score(census [][]int, h *host) int {
	if !t.prefers() {
		return 0
	}
	score := t.of(h).affinity
	for i, number := range t.values[h.index*len(t.spread):][:len(t.spread)] {
		if number < len(census[i]) {
			score -= t.spread[i].Weight * census[i][number]
		}
	}
	return int(math.Round(steps * float64(score) / float64(t.weight)))
}
