package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Ports reads which address is behind which port of the bridge, in the container's own network. An
// address that is behind more than one is left out. It needs CAP_NET_ADMIN.
func Ports(bridge string) (map[netip.Addr]uint32, error) {
	master, err := net.InterfaceByName(bridge)
	if err != nil {
		return nil, fmt.Errorf("find bridge %s: %w", bridge, err)
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Strict: true})
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer conn.Close()
	links, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
		Data: make([]byte, unix.SizeofIfInfomsg)})
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	ports := make(map[netip.Addr]uint32)
	var twice []netip.Addr
	for _, message := range links {
		p, err := readPort(message.Data)
		if err != nil {
			return nil, fmt.Errorf("read interface: %w", err)
		}
		if p.master != uint32(master.Index) || !p.elsewhere {
			continue
		}
		addrs, err := p.addrs(conn)
		if err != nil {
			return nil, fmt.Errorf("read addresses behind port %d of bridge %s: %w", p.index, bridge, err)
		}
		for _, addr := range addrs {
			if _, taken := ports[addr]; taken {
				twice = append(twice, addr)
			}
			ports[addr] = p.index
		}
	}
	for _, addr := range twice {
		delete(ports, addr)
	}
	return ports, nil
}

// port is the end of a pair of interfaces that is in a bridge, and where the other end is.
type port struct {
	index, master uint32
	peer          uint32 // index of the other end
	elsewhere     bool   // it is in another network, with this number
	network       int32
}

func readPort(data []byte) (p port, err error) {
	if len(data) < unix.SizeofIfInfomsg {
		return p, fmt.Errorf("a message of %d bytes", len(data))
	}
	attributes, err := netlink.NewAttributeDecoder(data[unix.SizeofIfInfomsg:])
	if err != nil {
		return p, err
	}
	p.index = attributes.ByteOrder.Uint32(data[4:8])
	for attributes.Next() {
		switch attributes.Type() {
		case unix.IFLA_MASTER:
			p.master = attributes.Uint32()
		case unix.IFLA_LINK:
			p.peer = attributes.Uint32()
		case unix.IFLA_LINK_NETNSID:
			p.network, p.elsewhere = attributes.Int32(), true
		}
	}
	return p, attributes.Err()
}

// addrs are the IPv4 addresses of the other end. A network that just ended has none.
func (p port) addrs(conn *netlink.Conn) (addrs []netip.Addr, err error) {
	attributes := netlink.NewAttributeEncoder()
	attributes.Int32(unix.IFA_TARGET_NETNSID, p.network)
	data, err := attributes.Encode()
	if err != nil {
		return nil, err
	}
	head := make([]byte, unix.SizeofIfAddrmsg)
	head[0] = unix.AF_INET
	attributes.ByteOrder.PutUint32(head[4:8], p.peer)
	messages, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_GETADDR, Flags: netlink.Request | netlink.Dump},
		Data: append(head, data...)})
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, message := range messages {
		addr, err := p.readAddr(message.Data)
		if err != nil {
			return nil, err
		}
		if addr.IsValid() {
			addrs = append(addrs, addr)
		}
	}
	return slices.Compact(addrs), nil
}

// readAddr is the address in the message, if it is the other end's.
func (p port) readAddr(data []byte) (addr netip.Addr, err error) {
	if len(data) < unix.SizeofIfAddrmsg {
		return addr, fmt.Errorf("a message of %d bytes", len(data))
	}
	attributes, err := netlink.NewAttributeDecoder(data[unix.SizeofIfAddrmsg:])
	if err != nil {
		return addr, err
	}
	if attributes.ByteOrder.Uint32(data[4:8]) != p.peer {
		return addr, nil // a kernel before 5.0 does not know the question
	}
	sure := false
	for attributes.Next() {
		switch attributes.Type() {
		case unix.IFA_LOCAL:
			addr, _ = netip.AddrFromSlice(attributes.Bytes())
		case unix.IFA_TARGET_NETNSID:
			sure = attributes.Int32() == p.network
		}
	}
	if !sure {
		return netip.Addr{}, attributes.Err()
	}
	return addr, attributes.Err()
}
