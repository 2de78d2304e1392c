package identity

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	addrsMaxAge = time.Second           // who asks may ask often
	linksMaxAge = 10 * time.Millisecond // less than what starts on a new link takes to its first packet
)

// host knows the network of this host.
type host struct {
	mu        sync.Mutex
	addrsRead time.Time
	addrs     map[netip.Addr]bool
	linksRead time.Time
	links     int
}

// has says whether the address is one of the host's own. It is false if that cannot be read: the
// address is a stranger's then.
func (h *host) has(addr netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.addrs == nil || now.Sub(h.addrsRead) > addrsMaxAge {
		h.addrsRead, h.addrs = now, ownAddrs()
	}
	return h.addrs[addr]
}

func ownAddrs() map[netip.Addr]bool {
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

// newestLink is the number of the newest of the links that containers come by. A container that is
// started, or joins a network, gets a link with a higher number than any before: while this stays
// the same, no address has another owner. It is -1 if it cannot be read.
func (h *host) newestLink() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.linksRead.IsZero() || now.Sub(h.linksRead) > linksMaxAge {
		h.linksRead, h.links = now, newestVeth()
	}
	return h.links
}

func newestVeth() int {
	links, err := net.Interfaces()
	if err != nil {
		return -1
	}
	newest := 0
	for _, link := range links {
		if strings.HasPrefix(link.Name, "veth") {
			newest = max(newest, link.Index)
		}
	}
	return newest
}
