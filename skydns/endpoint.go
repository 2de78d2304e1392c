package skydns

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Endpoint is where the server shall listen: an address, or whatever address a network
// interface has.
type Endpoint struct {
	Addr      netip.Addr
	Interface string // if it has a name, Addr does not count
	Port      uint16
}

// maxInterfaceName is IFNAMSIZ without the final zero.
const maxInterfaceName = 15

// ParseEndpoint reads "10.0.0.1:53", "[::1]:53", "dokkaa:53" or "%dokkaa:53"; the latter two
// mean the interface dokkaa.
func ParseEndpoint(s string) (Endpoint, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return Endpoint{}, fmt.Errorf("address %q is not IP:port or interface:port", s)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return Endpoint{}, fmt.Errorf("address %q: %q is not a port", s, portText)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return Endpoint{Addr: addr, Port: uint16(port)}, nil
	}
	name := strings.TrimPrefix(host, "%")
	// A name with a dot is more likely a mistyped address than an interface.
	if name == "" || len(name) > maxInterfaceName || strings.ContainsAny(name, "./%: ") {
		return Endpoint{}, fmt.Errorf("address %q: %q is neither an IP address nor the name of a network interface", s, host)
	}
	return Endpoint{Interface: name, Port: uint16(port)}, nil
}

// parseEndpoints reads a list of endpoints.
func parseEndpoints(list []string) ([]Endpoint, error) {
	var endpoints []Endpoint
	for _, text := range list {
		endpoint, err := ParseEndpoint(text)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, endpoint)
	}
	return endpoints, nil
}

func (e Endpoint) String() string {
	host := e.Interface
	if host == "" {
		host = e.Addr.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(e.Port)))
}

// resolve is the address to listen on now.
func (e Endpoint) resolve(interfaceAddr func(name string) (netip.Addr, error)) (netip.AddrPort, error) {
	if e.Interface == "" {
		return netip.AddrPortFrom(e.Addr, e.Port), nil
	}
	addr, err := interfaceAddr(e.Interface)
	return netip.AddrPortFrom(addr, e.Port), err
}

// interfaceAddr is the first IPv4 address of the interface, or its first global IPv6 one.
func interfaceAddr(name string) (netip.Addr, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("look for interface %s: %w", name, err)
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read addresses of interface %s: %w", name, err)
	}
	var found netip.Addr
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if prefix.Addr().Is4() {
			return prefix.Addr(), nil
		}
		if !found.IsValid() && prefix.Addr().IsGlobalUnicast() {
			found = prefix.Addr()
		}
	}
	if !found.IsValid() {
		return netip.Addr{}, fmt.Errorf("interface %s has no address", name)
	}
	return found, nil
}
