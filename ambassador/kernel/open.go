package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of the kernel's nfnetlink_conntrack.h and nf_conntrack_tcp.h.
const (
	ctGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctTupleOriginal, ctProtoInfo, ctMark, ctMarkMask = 1, 4, 8, 21

	ctTupleIP, ctIPSource      = 1, 1
	ctProtoInfoTCP, ctTCPState = 1, 1

	tcpEstablished, tcpCloseWait = 3, 5
)

// Open counts the connections that are open to each instance. It looks at all of the host's.
func (t *Table) Open() (map[Instance]int, error) {
	open := make(map[Instance]int)
	err := connections(func(c connection, _ *netlink.Conn) error {
		if i, ok := t.byMark[c.mark]; ok && tcpEstablished <= c.state && c.state <= tcpCloseWait {
			open[i]++
		}
		return nil
	})
	return open, err
}

// EndConnections has the kernel forget the connections of containers that had the addresses and are gone.
// They may not have ended them themselves, and the next ones who have the addresses must not meet with them.
func EndConnections(sources []netip.Addr) error {
	return connections(func(c connection, conn *netlink.Conn) error {
		if !slices.Contains(sources, c.source) {
			return nil
		}
		attributes := netlink.NewAttributeEncoder()
		attributes.Bytes(unix.NLA_F_NESTED|ctTupleOriginal, c.original)
		data, err := attributes.Encode()
		if err != nil {
			return err
		}
		_, err = conn.Execute(netlink.Message{Header: netlink.Header{Type: ctDelete, Flags: netlink.Request | netlink.Acknowledge},
			Data: append(slices.Clone(ctHeader), data...)})
		if errors.Is(err, unix.ENOENT) {
			return nil // it ended meanwhile
		}
		return err
	})
}

// ctHeader is the nfgenmsg before the attributes: family, version and 16 bits that mean nothing here.
var ctHeader = []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}

// connections does something for each connection that a Table made, of whichever ambassador.
func connections(do func(connection, *netlink.Conn) error) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer conn.Close()
	attributes := netlink.NewAttributeEncoder()
	attributes.ByteOrder = binary.BigEndian
	attributes.Uint32(ctMark, markPrefix)
	attributes.Uint32(ctMarkMask, markMask)
	data, err := attributes.Encode()
	if err != nil {
		return err
	}
	messages, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: ctGet, Flags: netlink.Request | netlink.Dump},
		Data: append(slices.Clone(ctHeader), data...)})
	if err != nil {
		return fmt.Errorf("read connections: %w", err)
	}
	for _, message := range messages {
		c, err := readConnection(message.Data)
		if err != nil {
			return fmt.Errorf("read connection: %w", err)
		}
		if c.mark&markMask != markPrefix {
			continue // a kernel that does not know the filter tells of all
		}
		if err := do(c, conn); err != nil {
			return fmt.Errorf("end connection: %w", err)
		}
	}
	return nil
}

// connection is one as the kernel tells of it.
type connection struct {
	mark     uint32
	state    uint8  // of TCP
	original []byte // from whom to whom, in the kernel's own words
	source   netip.Addr
}

func readConnection(data []byte) (c connection, err error) {
	if len(data) < len(ctHeader) {
		return c, fmt.Errorf("a message of %d bytes", len(data))
	}
	attributes, err := netlink.NewAttributeDecoder(data[len(ctHeader):])
	if err != nil {
		return c, err
	}
	attributes.ByteOrder = binary.BigEndian
	for attributes.Next() {
		switch attributes.Type() {
		case ctMark:
			c.mark = attributes.Uint32()
		case ctTupleOriginal:
			c.original = slices.Clone(attributes.Bytes())
			find(attributes, func(ip []byte) { c.source, _ = netip.AddrFromSlice(ip) }, ctTupleIP, ctIPSource)
		case ctProtoInfo:
			find(attributes, func(state []byte) { c.state = state[0] }, ctProtoInfoTCP, ctTCPState)
		}
	}
	return c, attributes.Err()
}

// find calls found with what stands at the path within the present attribute.
func find(attributes *netlink.AttributeDecoder, found func([]byte), path ...uint16) {
	attributes.Nested(func(inner *netlink.AttributeDecoder) error {
		for inner.Next() {
			if inner.Type() != path[0] {
				continue
			}
			if len(path) > 1 {
				find(inner, found, path[1:]...)
			} else if b := inner.Bytes(); len(b) > 0 {
				found(b)
			}
		}
		return nil
	})
}
