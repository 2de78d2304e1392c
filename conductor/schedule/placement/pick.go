package placement

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
)

// Options narrow a Pick.
type Options struct {
	Only    []string          // the hosts that will do; nil: any
	Else    string            // why the others won't
	Exclude map[string]string // hosts not to use, with the reason
}

// Pick chooses the host for one more instance, without adding it. If there is none, refusals
// count every host of the cluster under its first reason. An instance that is to replace another
// counts the other as a copy, unless that was removed before.
func (m *Map) Pick(d *Demand, opts Options) (ip string, refusals Refusals) {
	q := m.query(d)
	if best := m.best(q, opts); best != nil {
		return best.IP, nil
	}
	refusals = Refusals{}
	for _, h := range m.hosts {
		if h.known {
			refusals[opts.refusal(q, h)]++
		}
	}
	return "", refusals
}

// best walks along the hosts from the emptiest: the first of the best score and of the fewest
// copies is the one.
func (m *Map) best(q *query, opts Options) *host {
	hosts := m.open
	if opts.Only != nil {
		hosts = m.among(opts.Only)
	}
	var best *host
	var bestScore, bestCopies int
	for _, h := range hosts {
		score, copies := q.score(h), q.copies(h)
		if best != nil && cmp.Or(bestScore-score, copies-bestCopies) >= 0 || opts.refusal(q, h) != "" {
			continue
		}
		best, bestScore, bestCopies = h, score, copies
		if copies == 0 && !q.taste.prefers() {
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
	return Options{}.refusal(m.query(d), h)
}

// Fits says why an instance that is counted on a host may not stay there, "" if it may. What host
// is unknown, or takes nothing new, is no reason; nor is that others don't want to be near it:
// it is they who move.
func (m *Map) Fits(d *Demand, ip string) (reason string) {
	h := m.hosts[ip]
	if h == nil || !h.known {
		return ""
	}
	q := m.query(d)
	return cmp.Or(q.taste.refusal(h), q.company(h))
}

// query is a demand that is asked about, with what the map knows of it.
type query struct {
	*Demand
	container   *container // nil if there is no instance of it
	taste       *taste
	census      [][]int
	near, apart []*container // nil where there is no instance
}

func (m *Map) query(d *Demand) *query {
	q := &query{Demand: d, container: m.containers[d.Ref], taste: m.tasteOf(d)}
	q.census = q.taste.census(q.container)
	for _, o := range d.near {
		q.near = append(q.near, m.containers[o.ref])
	}
	for _, o := range d.apart {
		q.apart = append(q.apart, m.containers[o.ref])
	}
	return q
}

func (q *query) score(h *host) int { return q.taste.score(q.census, h) }

// copies is how many instances of the container the host has.
func (q *query) copies(h *host) int { return q.container.on(h) }

func (c *container) on(h *host) int {
	if c == nil {
		return 0
	}
	return c.at[h]
}

// refusal is the first reason, in a fixed order, why a host won't do.
func (o Options) refusal(q *query, h *host) string {
	if h.Refuses != "" {
		return h.Refuses
	}
	if o.Only != nil && !slices.Contains(o.Only, h.IP) {
		return o.Else
	}
	if reason, ok := o.Exclude[h.IP]; ok {
		return reason
	}
	return q.refusal(h)
}

func (q *query) refusal(h *host) string {
	if reason := q.taste.refusal(h); reason != "" {
		return reason
	}
	if reason := q.company(h); reason != "" {
		return reason
	}
	if q.container != nil && len(q.container.shunned) > 0 {
		if by := q.container.shunned[h]; len(by) > 0 {
			return apartFrom(q.name(slices.MinFunc(slices.Collect(maps.Keys(by)), compareRefs)))
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

// name is what the container's manifest would call another.
func (q *query) name(ref state.Ref) string {
	if ref.App == q.Ref.App {
		return ref.Name
	}
	return ref.String()
}

func compareRefs(a, b state.Ref) int {
	return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.Name, b.Name))
}
