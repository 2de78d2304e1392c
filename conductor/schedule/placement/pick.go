package placement

import (
	"cmp"
	"maps"
	"slices"
	"unique"
)

// Options narrow a Pick.
type Options struct {
	Only    []string          // the hosts that will do; nil: any
	Else    string            // why the others won't
	Exclude map[string]string // hosts not to use, with the reason
	Instead string            // host of an instance that this one takes the place of: it is no copy, then
}

// Pick chooses the host for one more instance, without adding it. If there is none, refusals
// count every host of the cluster under its first reason.
func (m *Map) Pick(d *Demand, opts Options) (ip string, refusals Refusals) {
	q := m.query(d, opts)
	if best := m.best(q); best != nil {
		return best.IP, nil
	}
	refusals = Refusals{}
	for _, h := range m.hosts {
		if h.known {
			refusals[q.refusal(h)]++
		}
	}
	return "", refusals
}

// best walks along the hosts from the emptiest: the first of the best score and of the fewest
// copies is the one.
func (m *Map) best(q *query) *host {
	hosts := m.open
	if q.Only != nil {
		hosts = m.among(q.Only)
	}
	var best *host
	var bestScore, bestCopies int
	q.count()
	limit := q.taste.limit(q.census)
	for _, h := range hosts {
		if q.taste.refusal(h) != "" {
			continue // the cheapest to find out
		}
		score, copies := q.score(h), q.copies(h)
		if best != nil && cmp.Or(bestScore-score, copies-bestCopies) >= 0 || q.refusal(h) != "" {
			continue
		}
		best, bestScore, bestCopies = h, score, copies
		if copies == 0 && score == limit {
			break // nothing can be better
		}
	}
	return best
}

// among finds the open ones of some hosts, in order.
func (m *Map) among(ips []string) []*host {
	var hosts []*host
	for _, ip := range ips {
		if h := m.hosts[ip]; h != nil && h.open() {
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, byLoad)
	return hosts
}

// Takes says why a host does not take one more instance, "" if it does.
func (m *Map) Takes(d *Demand, ip string) (reason string) {
	h := m.hosts[ip]
	if h == nil || !h.known {
		return "it is not in the cluster"
	}
	return m.query(d, Options{}).refusal(h)
}

// Fits says why an instance that is counted on a host may not stay there, "" if it may. What host
// is unknown, or takes nothing new, is no reason; nor is that others don't want to be near it:
// it is they who move.
func (m *Map) Fits(d *Demand, ip string) (reason string) {
	h := m.hosts[ip]
	if h == nil || !h.known || d.taste == (unique.Handle[string]{}) && len(d.near)+len(d.apart) == 0 {
		return ""
	}
	q := m.query(d, Options{})
	return cmp.Or(q.taste.refusal(h), q.company(h))
}

// query is a demand that is asked about, with what the map knows of it.
type query struct {
	*Demand
	Options
	container   *container // nil if there is no instance of it
	taste       *taste
	leaves      *host        // where an instance of the container is not counted, nil if all are
	census      census       // once count was called
	near, apart []*container // nil where there is no instance
}

func (m *Map) query(d *Demand, opts Options) *query {
	q := &query{Demand: d, Options: opts, container: m.containers[d.Ref], taste: m.tasteOf(d)}
	if h := m.hosts[opts.Instead]; q.container.on(h) > 0 {
		q.leaves = h
	}
	for _, o := range d.near {
		q.near = append(q.near, m.containers[o.ref])
	}
	for _, o := range d.apart {
		q.apart = append(q.apart, m.containers[o.ref])
	}
	return q
}

// count prepares for asking for scores.
func (q *query) count() {
	q.census = q.taste.census(q.container)
	if q.leaves != nil {
		q.taste.enter(q.census, q.leaves, -1)
	}
}

func (q *query) score(h *host) int { return q.taste.score(q.census, h) }

// copies is how many instances of the container the host has.
func (q *query) copies(h *host) int {
	n := q.container.on(h)
	if h == q.leaves {
		n--
	}
	return n
}

func (c *container) on(h *host) int {
	if c == nil {
		return 0
	}
	return c.at[h]
}

// refusal is the first reason, in a fixed order, why a host won't do; "" if it will.
func (q *query) refusal(h *host) string {
	if h.Refuses != "" {
		return h.Refuses
	}
	if q.Only != nil && !slices.Contains(q.Only, h.IP) {
		return cmp.Or(q.Else, "it must be another")
	}
	if reason, ok := q.Exclude[h.IP]; ok {
		return cmp.Or(reason, "it must be another")
	}
	if reason := q.taste.refusal(h); reason != "" {
		return reason
	}
	if reason := q.company(h); reason != "" {
		return reason
	}
	if q.container != nil && len(q.container.shunned) > 0 {
		if by := q.container.shunned[h]; len(by) > 0 {
			return apartFrom(slices.Min(slices.Collect(maps.Keys(by))))
		}
	}
	return q.room(h)
}

// company is what is wrong with what else is on the host.
func (q *query) company(h *host) string {
	for i, c := range q.near {
		if c.on(h) == 0 {
			return q.Demand.near[i].reason
		}
	}
	for i, c := range q.apart {
		if c.on(h) > 0 {
			return q.Demand.apart[i].reason
		}
	}
	return ""
}

// room is what the host has not left for one more.
func (q *query) room(h *host) string {
	if q.maxPerHost > 0 && q.copies(h) >= q.maxPerHost {
		return "max_per_host"
	}
	for _, p := range q.ports {
		if h.ports[p.number] > 0 {
			return p.reason
		}
	}
	switch {
	case q.cpus > 0 && h.CPUs > 0 && h.cpus+q.cpus > millionths(h.CPUs):
		return "cpus"
	case q.memory > 0 && h.Memory > 0 && h.memory+q.memory > h.Memory:
		return "memory"
	}
	return ""
}
