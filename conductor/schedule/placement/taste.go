package placement

import (
	"math"
	"slices"
	"unique"

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
	liked       int // of the affinities that are not negative

	versions int              // Map.versions when the hosts were judged
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
	if d.taste == (unique.Handle[string]{}) {
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
	if t.versions != m.versions {
		t.versions = m.versions
		for _, h := range m.hosts {
			if h.known {
				t.judge(h)
			}
		}
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
		t.liked += max(a.Weight, 0)
	}
	for i, s := range d.spread {
		t.numbers[i] = map[string]int{}
		t.weight += s.Weight
	}
	return t
}

func (t *taste) judge(h *host) {
	for len(t.verdicts) <= h.index {
		t.verdicts = append(t.verdicts, verdict{})
		t.values = append(t.values, make([]int, len(t.spread))...)
	}
	v := &t.verdicts[h.index]
	if v.version == h.version {
		return
	}
	*v = verdict{version: h.version}
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
		if _, ok := t.numbers[i][value]; !ok {
			t.numbers[i][value] = len(t.numbers[i])
		}
		t.valuesOf(h)[i] = t.numbers[i][value]
	}
}

// valuesOf are the numbers of the host's values, by spread.
func (t *taste) valuesOf(h *host) []int { return t.values[h.index*len(t.spread):][:len(t.spread)] }

// refusal is the first constraint that the host does not meet, "" if there is none.
func (t *taste) refusal(h *host) string {
	if t == nil {
		return ""
	}
	if failed := t.verdicts[h.index].failed; failed > 0 {
		return t.refusals[failed-1]
	}
	return ""
}

// prefers tells whether it likes some hosts better than others.
func (t *taste) prefers() bool { return t != nil && t.weight > 0 }

// census is how many instances of a container there are, by spread and number of the value. What
// is on a host of unknown attributes has no value.
type census [][]int

func (t *taste) census(c *container) census {
	if !t.prefers() || len(t.spread) == 0 {
		return nil
	}
	counts := make(census, len(t.spread))
	for i := range counts {
		counts[i] = make([]int, len(t.numbers[i]))
	}
	if c != nil {
		for h, n := range c.at {
			t.enter(counts, h, n)
		}
	}
	return counts
}

// enter counts n more instances on a host.
func (t *taste) enter(counts census, h *host, n int) {
	if counts == nil || !h.known {
		return
	}
	for i, number := range t.valuesOf(h) {
		counts[i][number] += n
	}
}

// score is how much a host is preferred, in steps. An affinity counts its weight; with a spread,
// each instance that the host's value has already costs the weight. So one instance more than
// elsewhere weighs as much as an affinity of the same weight.
func (t *taste) score(counts census, h *host) int {
	if !t.prefers() {
		return 0
	}
	score := t.verdicts[h.index].affinity
	for i, n := range t.valuesOf(h) {
		score -= t.spread[i].Weight * counts[i][n]
	}
	return t.inSteps(score)
}

// limit is a score that no host exceeds.
func (t *taste) limit(counts census) int {
	if !t.prefers() {
		return 0
	}
	score := t.liked
	for i, s := range t.spread {
		if len(counts[i]) > 0 {
			score -= s.Weight * slices.Min(counts[i])
		}
	}
	return t.inSteps(score)
}

func (t *taste) inSteps(score int) int {
	return int(math.Round(steps * float64(score) / float64(t.weight)))
}
