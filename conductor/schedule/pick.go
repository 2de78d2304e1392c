package schedule

import (
	"cmp"
	"maps"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
)

// pick chooses a host by how suitable and how busy they are. A host that an instance of this
// container gave up on is chosen only if there is no other, and not for what serves where it is.
func (c *container) pick(n int, s state.Slot, reason string) (host, why string) {
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
	host, refusals := c.p.places.Pick(c.demand, c.avoiding(options))
	if host == "" && len(c.p.avoid[c.ref]) > 0 && (s.Current == nil || urgent(reason) || isUpdate(reason)) {
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

// avoiding are the options without the hosts that an instance gave up on.
func (c *container) avoiding(options placement.Options) placement.Options {
	if avoided := c.p.avoid[c.ref]; len(avoided) > 0 {
		options.Exclude = maps.Clone(options.Exclude)
		for ip := range avoided {
			options.Exclude[ip] = "an instance gave up there"
		}
	}
	return options
}

// avoid notes that an instance gave up on a host.
func (p *Planner) avoidHost(ref state.Ref, host string, now time.Time) {
	if p.avoid[ref] == nil {
		p.avoid[ref] = map[string]time.Time{}
	}
	if _, known := p.avoid[ref][host]; !known {
		p.avoid[ref][host] = now.Add(avoidance)
	}
}

// forgive has hosts tried again after a while. It returns when the next is to be.
func (p *Planner) forgive(now time.Time) (next time.Time) {
	for ref, hosts := range p.avoid {
		for host, until := range hosts {
			if until.After(now) {
				next = earlier(next, until)
				continue
			}
			if delete(hosts, host); len(hosts) == 0 {
				delete(p.avoid, ref)
			}
			p.touch(ref)
		}
	}
	return next
}

func compareIPs(a, b string) int {
	ipA, errA := netip.ParseAddr(a)
	ipB, errB := netip.ParseAddr(b)
	if errA != nil || errB != nil {
		return cmp.Compare(a, b)
	}
	return ipA.Compare(ipB)
}
