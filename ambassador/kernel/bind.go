package kernel

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// allBound says whether the port of each container is known that needs one.
func (p *Path) allBound(containers []Container) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(containers, func(c Container) bool {
		return len(c.Links)+len(c.Published) > 0 && p.bound[c.ID].Addr != c.Addr
	})
}

// bind finds the ports of the bridge that containers are behind.
//
// The kernel is asked which port has the address, and then Docker whether the container still has it. If
// so, the port is the container's: no other can have the address in between, and a port that is gone
// does not come back.
func (p *Path) bind(ctx context.Context) {
	containers := p.source.Containers()
	if p.allBound(containers) && time.Since(p.portsRead) < lookEvery {
		return
	}
	p.portsRead = time.Now()
	ports, err := Ports(p.settings.Bridge)
	if err != nil {
		return // the pass tells what is wrong, if it is not that the bridge is not there yet
	}
	there := make(map[uint32]bool)
	for _, port := range ports {
		there[port] = true
	}
	var unbound []Container
	p.mu.Lock()
	known := make(map[string]bool)
	for _, c := range containers {
		known[c.ID] = true
		if len(c.Links)+len(c.Published) > 0 && !(p.bound[c.ID].Addr == c.Addr && there[p.bound[c.ID].Port]) {
			unbound = append(unbound, c)
		}
	}
	var gone []netip.Addr
	maps.DeleteFunc(p.bound, func(_ string, c Caller) bool {
		if !there[c.Port] {
			gone = append(gone, c.Addr)
		}
		return !there[c.Port]
	})
	maps.DeleteFunc(p.bound, func(id string, _ Caller) bool { return !known[id] })
	p.mu.Unlock()
	if len(gone) > 0 {
		if err := EndConnections(gone); err != nil {
			p.log.Warn("end connections of containers that are gone", "addrs", gone, "err", err)
		}
	}
	for _, c := range unbound {
		port, ok := ports[c.Addr]
		if !ok {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, askTimeout)
		addr, err := p.source.Address(limited, c.ID)
		cancel()
		if err != nil || addr != c.Addr {
			continue
		}
		p.mu.Lock()
		p.bound[c.ID] = Caller{Port: port, Addr: addr}
		p.mu.Unlock()
	}
}
