package identity

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// hostMaxAge is how long the host's addresses are remembered: who asks may ask often.
const hostMaxAge = time.Second

// host knows this host's own addresses.
type host struct {
	mu    sync.Mutex
	read  time.Time
	addrs map[netip.Addr]bool
}

// has says whether the address is one of the host's. It is false if that cannot be read: the
// address is a stranger's then.
func (h *host) has(addr netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.addrs == nil || now.Sub(h.read) > hostMaxAge {
		h.read, h.addrs = now, localAddrs()
	}
	return h.addrs[addr]
}

func localAddrs() map[netip.Addr]bool {
	addrs := make(map[netip.Addr]bool)
	listed, err := net.InterfaceAddrs()
	if err != nil {
		return addrs
	}
	for _, l := range listed {
		if prefix, ok := l.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(prefix.IP); ok {
				addrs[addr.Unmap()] = true
			}
		}
	}
	return addrs
}
