package limit

import (
	"fmt"
	"net/netip"
)

// Networks are networks of clients.
type Networks []netip.Prefix

// ParseNetworks reads networks such as "10.0.0.0/8"; a single address is a network, too.
func ParseNetworks(list []string) (Networks, error) {
	var networks Networks
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("network %q: %w", text, err)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		networks = append(networks, prefix.Masked())
	}
	return networks, nil
}

// Contain says whether addr is in one of the networks. IPv4 addresses may be mapped to IPv6.
func (n Networks) Contain(addr netip.Addr) bool {
	addr = addr.Unmap()
	if addr.Zone() != "" {
		addr = addr.WithZone("")
	}
	for _, prefix := range n {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
