package schedule

import (
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
)

// globalSlots are the slots of a container that runs on each suitable host: one for each. The slot
// of a host that is lost stays, for when it comes back.
func (c *container) globalSlots() (wanted []int) {
	slotOf := map[string]int{}
	for _, n := range c.app.slotNumbers() {
		for _, a := range c.app.slots[n].assignments() {
			if _, found := slotOf[a.Host]; !found {
				slotOf[a.Host] = n
			}
		}
	}
	next := 1
	for _, ip := range slices.SortedFunc(maps.Keys(c.p.hosts), compareIPs) {
		n, has := slotOf[ip]
		switch {
		case has && c.p.hosts[ip].Availability != state.Drained && c.p.places.Fits(c.demand, ip) == "":
			wanted = append(wanted, n)
		case !has && c.manifest != nil:
			if c.p.places.Takes(c.demand, ip) != "" {
				continue
			}
			for c.taken(next) {
				next++
			}
			wanted = append(wanted, next)
			c.hosts[next] = ip
			next++
		}
	}
	return wanted
}

// taken tells whether there is a slot of this number already.
func (c *container) taken(n int) bool { _, there := c.app.slots[n]; return there }
