package kernel

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// Caller is a container that may connect.
type Caller struct {
	Port  uint32 // index of its port of the bridge
	Addr  netip.Addr
	Links map[uint16]string // service by port dialled; without those that are not for the kernel
}

// Endpoint is an instance of a service as it is announced.
type Endpoint struct {
	Addr             netip.AddrPort
	Priority, Weight uint16
}

// Service is what is known of a service that is linked.
type Service struct {
	Endpoints []Endpoint
	Why       string // it is not for the kernel now, "" if it is
}

// Host is what is known of this host.
type Host struct {
	Addrs     []netip.Addr              // of its own
	Published map[netip.AddrPort]Inside // containers' ports, by the host's that leads to them
	// Inward says that containers of this host may be connected to each other; Why if not.
	Inward bool
	Why    string
}

// Inside is where a container of this host is reached.
type Inside struct {
	Addr netip.AddrPort
	Port uint32 // index of its port of the bridge
}

// Link is what a container may dial.
type Link struct {
	Port   uint32 // of the bridge
	Source netip.Addr
	To     uint16
}

// Share is an instance that gets its part of a service's connections.
type Share struct {
	Announced netip.AddrPort
	Inside           // where it is reached; the port is 0 if that is another host
	Weight    uint32 // at least 1
}

// Rules are what the kernel does.
type Rules struct {
	Links    map[Link]string    // to services
	Services map[string][]Share // by announced address, never empty
}

// Reasons why a service is not the kernel's.
const (
	WhyNone   = "it has no instance"
	WhyNobody = "an instance of this host is no container's"
	WhyIPv6   = "an instance has an IPv6 address"
)

// Plan is what the kernel should do, and by service why not. A service is the kernel's with all of
// its instances of the best priority, or not at all: their shares would not be right otherwise.
func Plan(callers []Caller, services map[string]Service, host Host) (rules Rules, why map[string]string) {
	rules = Rules{Links: make(map[Link]string), Services: make(map[string][]Share)}
	why = make(map[string]string)
	for name, service := range services {
		shares, reason := host.shares(service)
		if reason != "" {
			why[name] = reason
			continue
		}
		rules.Services[name] = shares
	}
	used := make(map[string]bool)
	for _, caller := range callers {
		for port, name := range caller.Links {
			shares, ok := rules.Services[name]
			if ok && !slices.ContainsFunc(shares, func(s Share) bool { return s.Port == caller.Port }) {
				rules.Links[Link{caller.Port, caller.Addr, port}] = name
				used[name] = true
			}
		}
	}
	maps.DeleteFunc(rules.Services, func(name string, _ []Share) bool { return !used[name] })
	return rules, why
}

// shares are those of the service's instances, or why the kernel cannot connect to them.
func (h Host) shares(service Service) (shares []Share, why string) {
	if service.Why != "" {
		return nil, service.Why
	}
	if len(service.Endpoints) == 0 {
		return nil, WhyNone
	}
	best := slices.MinFunc(service.Endpoints, func(a, b Endpoint) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, e := range service.Endpoints {
		if e.Priority != best.Priority {
			continue
		}
		if !e.Addr.Addr().Is4() {
			return nil, WhyIPv6
		}
		share := Share{Announced: e.Addr, Inside: Inside{Addr: e.Addr}, Weight: max(1, uint32(e.Weight))} // as RFC 2782 wants of 0
		if slices.Contains(h.Addrs, e.Addr.Addr()) {
			inside, ok := h.Published[e.Addr]
			switch {
			case !h.Inward:
				return nil, h.Why
			case !ok:
				return nil, WhyNobody
			}
			share.Inside = inside
		}
		shares = append(shares, share)
	}
	slices.SortFunc(shares, func(a, b Share) int { return a.Announced.Compare(b.Announced) })
	return slices.CompactFunc(shares, func(a, b Share) bool { return a.Announced == b.Announced }), ""
}

// Instance is an instance of a service: what connections are counted for.
type Instance struct {
	Service   string
	Announced netip.AddrPort
	Inside
}

// changes are what leads from some rules to others.
type changes struct {
	unlink  []Link // also those that lead elsewhere now
	link    []Link
	gone    []string // services
	altered []string // services that are new, or whose shares are others
	come    []Instance
}

func (c changes) none() bool { return len(c.unlink)+len(c.link)+len(c.gone)+len(c.altered) == 0 }

// difference is what leads from have to want. Applied to have, it leaves nothing to do.
func difference(have, want Rules) (c changes) {
	for link, service := range have.Links {
		if want.Links[link] != service {
			c.unlink = append(c.unlink, link)
		}
	}
	for link, service := range want.Links {
		if have.Links[link] != service {
			c.link = append(c.link, link)
		}
	}
	for service := range have.Services {
		if _, ok := want.Services[service]; !ok {
			c.gone = append(c.gone, service)
		}
	}
	for service, shares := range want.Services {
		if !slices.Equal(have.Services[service], shares) {
			c.altered = append(c.altered, service)
		}
	}
	before := have.instances(c.altered)
	for i := range want.instances(c.altered) {
		if !before[i] {
			c.come = append(c.come, i)
		}
	}
	return c
}

// instances are those of the services.
func (r Rules) instances(services []string) map[Instance]bool {
	all := make(map[Instance]bool)
	for _, service := range services {
		for _, share := range r.Services[service] {
			all[Instance{service, share.Announced, share.Inside}] = true
		}
	}
	return all
}

// has tells whether connections are given to the instance.
func (r Rules) has(i Instance) bool {
	return slices.ContainsFunc(r.Services[i.Service], func(s Share) bool { return s.Announced == i.Announced && s.Inside == i.Inside })
}
