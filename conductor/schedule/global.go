package schedule

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
)

// globalSlots are the slots of a container that runs on each suitable host: one for each. The slot
// of a host that is lost stays, for when it comes back.
func (c *container) globalSlots() (wanted []int) {
	has, free := map[string]bool{}, map[int]bool{}
	for _, n := range c.assignedFirst() {
		ip := c.hostOf(n)
		host, known := c.p.hosts[ip]
		switch {
		case known && !has[ip] && host.Availability != state.Drained && c.p.places.Fits(c.demand, ip) == "":
			has[ip], c.hosts[n] = true, ip
			wanted = append(wanted, n)
		case c.vacant(n):
			free[n] = true
		}
	}
	for _, ip := range slices.SortedFunc(maps.Keys(c.p.hosts), compareIPs) {
		if has[ip] {
			continue
		}
		if c.p.places.Takes(c.demand, ip) != "" {
			c.left = c.left || c.p.hosts[ip].refuses() == "" && c.p.places.Fits(c.demand, ip) == ""
			continue
		}
		c.left = true // until it is there, another may take its place
		n := c.slotFor(ip, free)
		c.hosts[n] = ip
		wanted = append(wanted, n)
	}
	slices.Sort(wanted)
	return wanted
}

// assignedFirst are the numbers of slots: those of emptied ones come last, which must not drive out
// what serves.
func (c *container) assignedFirst() []int {
	numbers := c.app.slotNumbers()
	slices.SortStableFunc(numbers, func(a, b int) int {
		return min(len(c.app.slots[b].assignments()), 1) - min(len(c.app.slots[a].assignments()), 1)
	})
	return numbers
}

// hostOf is the host that a slot is on, or is for, "" for none.
func (c *container) hostOf(n int) string {
	s := c.app.slots[n]
	if s.unreadable {
		s.Slot = c.rebuild(n)
	}
	switch {
	case s.Current != nil && (s.Next == nil || !c.p.lost(s.Current.Host)):
		return s.Current.Host
	case s.Next != nil:
		return s.Next.Host
	case s.Host != "":
		return s.Host
	}
	o, _ := c.occupant(n)
	return o.Host
}

// slotFor is the number of the slot for a host that has none: that of the volumes which the host
// has, or else one that is nobody's. It may be one of which nothing is left.
func (c *container) slotFor(ip string, free map[int]bool) int {
	numbers := map[int]bool{} // of volumes: whether they are here
	for _, v := range c.bound() {
		for name, held := range c.p.volumes[c.ref] {
			if held.slot > 0 && name == v.DockerName(c.ref.App, c.ref.Name, held.slot) {
				numbers[held.slot] = numbers[held.slot] || held.hosts[ip]
			}
		}
	}
	open := func(n int) bool { return (free[n] || !c.taken(n)) && c.hosts[n] == "" }
	n := 1
	for !open(n) || hasKey(numbers, n) {
		n++
	}
	for _, here := range slices.Sorted(maps.Keys(numbers)) {
		if numbers[here] && open(here) {
			n = here
			break
		}
	}
	if free[n] {
		c.show(n, state.Slot{Generation: c.app.slots[n].Generation})
	}
	return n
}

// ownHost is the host of a slot of a container that runs on each. One that takes nothing new keeps
// what it has, so it is updated there.
func (c *container) ownHost(n int, s state.Slot) (host, why string) {
	if s.Generation == 0 {
		return c.pick(n, s, state.ReasonNew)
	}
	ip := c.hosts[n]
	switch h := c.p.hosts[ip]; {
	case h.Liveness != Alive:
		return "", fmt.Sprintf("waits for host %s, which is lost", ip)
	case h.Condition != "":
		return "", fmt.Sprintf("waits for host %s: %s", ip, h.Condition)
	}
	return ip, ""
}

// taken tells whether there is a slot of this number already.
func (c *container) taken(n int) bool { return hasKey(c.app.slots, n) }

func hasKey[K comparable, V any](m map[K]V, key K) bool { _, there := m[key]; return there }
