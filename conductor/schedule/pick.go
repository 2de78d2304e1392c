package schedule

import (
	"cmp"
	"net/netip"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
)

// pick chooses a host by how suitable and how busy they are. A host that an instance of this
// container gave up on is chosen only if there is no other.
func (c *container) pick(n int, s state.Slot) (host, why string) {
	if c.full != "" && c.hosts[n] == "" && s.Current == nil { // as for the slot before
		c.unmet[n] = c.full
		return "", c.full
	}
	options := placement.Options{Exclude: map[string]string{}}
	if ip := c.hosts[n]; ip != "" {
		options.Only, options.Else = []string{ip}, "has its own"
	}
	for _, a := range (slot{Slot: s}).assignments() {
		options.Exclude[a.Host] = "runs there now"
	}
	avoiding := options
	avoiding.Exclude = map[string]string{}
	for ip, why := range options.Exclude {
		avoiding.Exclude[ip] = why
	}
	for at := range c.p.avoid {
		if at.Ref == c.ref {
			avoiding.Exclude[at.host] = "an instance gave up there"
		}
	}
	host, refusals := c.p.places.Pick(c.demand, avoiding)
	if host == "" && len(avoiding.Exclude) > len(options.Exclude) {
		host, refusals = c.p.places.Pick(c.demand, options)
	}
	if host == "" {
		why = refusals.String()
		if c.unmet[n] = why; c.hosts[n] == "" && s.Current == nil {
			c.full = why
		}
	}
	return host, why
}

func compareIPs(a, b string) int {
	ipA, errA := netip.ParseAddr(a)
	ipB, errB := netip.ParseAddr(b)
	if errA != nil || errB != nil {
		return cmp.Compare(a, b)
	}
	return ipA.Compare(ipB)
}
