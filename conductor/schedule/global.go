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
	slotOf := c.slotsByHost()
	for _, ip := range slices.SortedFunc(maps.Keys(c.p.hosts), compareIPs) {
		n, has := slotOf[ip]
		switch {
		case has && (c.p.hosts[ip].Availability == state.Drained || c.p.places.Fits(c.demand, ip) != ""):
			continue
		case !has && c.p.places.Takes(c.demand, ip) != "":
			continue
		case !has:
			n = c.slotFor(ip)
		}
		c.hosts[n] = ip
		wanted = append(wanted, n)
	}
	return wanted
}

// slotsByHost are the slots that hosts have, also empty ones that are to be filled again.
func (c *container) slotsByHost() map[string]int {
	slotOf := map[string]int{}
	for _, n := range c.app.slotNumbers() {
		s := c.app.slots[n]
		if s.unreadable {
			s.Slot = c.rebuild(n)
		}
		for _, ip := range s.hosts() {
			if _, found := slotOf[ip]; !found {
				slotOf[ip] = n
			}
		}
	}
	return slotOf
}

// slotFor is the number of the slot for a host that has none: that of the volumes which the host
// has, or else one that is nobody's.
func (c *container) slotFor(ip string) int {
	numbers := map[int]bool{} // of volumes: whether they are here
	for _, v := range c.bound() {
		for at := range c.p.volumes[c.ref] {
			if at.volume == v.Name && at.slot > 0 {
				numbers[at.slot] = numbers[at.slot] || at.host == ip
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		if s := c.app.slots[n]; numbers[n] && c.hosts[n] == "" && len(s.hosts()) == 0 && !s.unreadable {
			return n
		}
	}
	n := 1
	for c.taken(n) || c.hosts[n] != "" || hasKey(numbers, n) {
		n++
	}
	return n
}

// ownHost is the host of a slot of a container that runs on each. One that takes nothing new keeps
// what it has, so it is updated there.
func (c *container) ownHost(n int, s state.Slot) (host, why string) {
	if s.Generation == 0 {
		return c.pick(n, s)
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
