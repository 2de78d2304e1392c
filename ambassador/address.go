package ambassador

import (
	"fmt"
	"net"
	"net/netip"
)

// interfaceAddrs returns the addresses of the network interface that containers know it by: the
// first of IPv4 and, if there is one, the first of IPv6 that is not of the link alone.
func interfaceAddrs(name string) ([]netip.Addr, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", name, err)
	}
	listed, err := iface.Addrs()
	if err != nil {
		return nil, fmt.Errorf("read addresses of interface %s: %w", name, err)
	}
	if addrs := chooseAddrs(listed); len(addrs) > 0 {
		return addrs, nil
	}
	return nil, fmt.Errorf("interface %s has no address yet", name)
}

func chooseAddrs(listed []net.Addr) (chosen []netip.Addr) {
	var four, six netip.Addr
	for _, l := range listed {
		prefix, ok := l.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(prefix.IP)
		switch addr = addr.Unmap(); {
		case !ok || addr.IsLinkLocalUnicast():
		case addr.Is4() && !four.IsValid():
			four = addr
		case addr.Is6() && !six.IsValid():
			six = addr
		}
	}
	for _, addr := range []netip.Addr{four, six} {
		if addr.IsValid() {
			chosen = append(chosen, addr)
		}
	}
	return chosen
}
