// Package placement decides where instances go. It is pure: hosts and demands in, hosts and
// reasons out.
//
// A host must be suitable: it takes new instances, meets the constraints, has those near it and
// none of those apart from it, and has room. Among suitable hosts, each of these decides where
// those before it leave a tie:
//
//  1. what the manifest prefers, affinities and spread, in coarse steps;
//  2. the fewest instances of the same container: copies are made so that a lost host does not
//     take them all, and copies that share a host are not worth their price;
//  3. the fewest instances in total: hosts carry equal numbers of containers. Numbers come before
//     resources because everybody has them, and because a person can check them at a glance;
//     few manifests reserve anything;
//  4. the smallest share of reserved resources;
//  5. the order of IPs, so that the same input gives the same plan.
//
// Copies before totals may leave totals uneven by more than one, for a while: Improve evens them
// out again, and from all evenly full hosts on there always is a move that harms no copies.
//
// A Map is not for concurrent use.
package placement

import (
	"slices"
	"unique"

	"github.com/dokkaa/dokkaa/internal/state"
)

// Map is which host has what.
type Map struct {
	hosts      map[string]*host
	open       []*host // those that take new instances, by load
	containers map[state.Ref]*container
	doubled    map[*container]struct{} // those with two or more instances on a host
	tastes     map[unique.Handle[string]]*taste
	free       []int // indexes of forgotten hosts
	versions   int   // of hosts' attributes that were given out
}

// container is where a container's instances are.
type container struct {
	ref     state.Ref
	at      map[*host]int
	doubled int                      // hosts with two or more
	needed  map[*host]int            // instances there that must be near it
	shunned map[*host]map[string]int // instances there that must be apart from it, by name in the app
}

// NewMap returns a map without hosts.
func NewMap() *Map {
	return &Map{
		hosts: map[string]*host{}, containers: map[state.Ref]*container{},
		doubled: map[*container]struct{}{}, tastes: map[unique.Handle[string]]*taste{},
	}
}

// SetHosts says which hosts there are, by IP. What is counted on others stays counted.
func (m *Map) SetHosts(hosts map[string]Host) {
	changed := false
	for ip, h := range hosts {
		h.IP = ip
		if old := m.hosts[ip]; old != nil && old.known && old.Host.equal(h) {
			continue
		}
		changed = true
		m.set(m.host(ip), h)
	}
	for ip, h := range m.hosts {
		if _, ok := hosts[ip]; !ok && h.known {
			changed = true
			h.known = false
			m.forget(h)
		}
	}
	if changed {
		m.sort()
	}
}

func (m *Map) set(h *host, to Host) {
	if !h.known || !h.sameAttributes(to) {
		m.versions++
		h.version = m.versions
	}
	h.Host, h.known = to, true
	h.weigh()
}

// host finds or makes a host.
func (m *Map) host(ip string) *host {
	h := m.hosts[ip]
	if h == nil {
		h = &host{Host: Host{IP: ip}, index: len(m.hosts)}
		if n := len(m.free); n > 0 {
			h.index, m.free = m.free[n-1], m.free[:n-1]
		}
		m.hosts[ip] = h
	}
	return h
}

// forget drops a host that is not there and has nothing.
func (m *Map) forget(h *host) {
	if !h.known && h.total == 0 {
		delete(m.hosts, h.IP)
		m.free = append(m.free, h.index)
	}
}

func (m *Map) sort() {
	m.open = m.open[:0]
	for _, h := range m.hosts {
		if h.open() {
			m.open = append(m.open, h)
		}
	}
	slices.SortFunc(m.open, byIP)
	for i, h := range m.open {
		h.rank = i
	}
	slices.SortFunc(m.open, byLoad)
}

// Add counts an instance that runs or will run on a host, be it lost or unknown.
func (m *Map) Add(d *Demand, ip string) {
	h, c := m.host(ip), m.container(d.Ref)
	m.count(h, d, 1)
	c.at[h]++
	if c.at[h] == 2 {
		c.doubled++
		m.doubled[c] = struct{}{}
	}
	for _, o := range d.near {
		c := m.container(o.ref)
		if c.needed == nil {
			c.needed = map[*host]int{}
		}
		c.needed[h]++
	}
	for _, o := range d.apart {
		c := m.container(o.ref)
		if c.shunned == nil {
			c.shunned = map[*host]map[string]int{}
		}
		if c.shunned[h] == nil {
			c.shunned[h] = map[string]int{}
		}
		c.shunned[h][d.Ref.Name]++
	}
}

// Remove takes back an Add. It needs the demand that was added: one made of another manifest may
// have reserved something else.
func (m *Map) Remove(d *Demand, ip string) {
	h, c := m.hosts[ip], m.containers[d.Ref]
	if h == nil || c == nil || c.at[h] == 0 {
		return
	}
	m.count(h, d, -1)
	if c.at[h] == 2 {
		if c.doubled--; c.doubled == 0 {
			delete(m.doubled, c)
		}
	}
	decrease(c.at, h)
	for _, o := range d.near {
		c := m.container(o.ref)
		decrease(c.needed, h)
		m.drop(c)
	}
	for _, o := range d.apart {
		c := m.container(o.ref)
		if decrease(c.shunned[h], d.Ref.Name); len(c.shunned[h]) == 0 {
			delete(c.shunned, h)
		}
		m.drop(c)
	}
	m.drop(c)
	m.forget(h)
}

func (m *Map) container(ref state.Ref) *container {
	c := m.containers[ref]
	if c == nil {
		c = &container{ref: ref, at: map[*host]int{}}
		m.containers[ref] = c
	}
	return c
}

// drop forgets a container that nothing is known of.
func (m *Map) drop(c *container) {
	if len(c.at)+len(c.needed)+len(c.shunned) == 0 {
		delete(m.containers, c.ref)
	}
}

// count keeps the open hosts in order: moving one of a thousand pointers costs less than a heap's
// upkeep, and whoever looks for a host just walks along.
func (m *Map) count(h *host, d *Demand, n int) {
	if !h.open() {
		h.count(d, n)
		return
	}
	at, _ := slices.BinarySearchFunc(m.open, h, byLoad)
	h.count(d, n)
	before, after := m.open[:at], m.open[at+1:]
	if to, _ := slices.BinarySearchFunc(after, h, byLoad); to > 0 {
		copy(m.open[at:], after[:to])
		m.open[at+to] = h
		return
	}
	to, _ := slices.BinarySearchFunc(before, h, byLoad)
	copy(m.open[to+1:], before[to:])
	m.open[to] = h
}

func decrease[K comparable](counts map[K]int, key K) {
	if counts[key] > 1 {
		counts[key]--
	} else {
		delete(counts, key)
	}
}
