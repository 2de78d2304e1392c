package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of the kernel's nfnetlink_conntrack.h and nf_conntrack_tcp.h.
const (
	ctGet = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET

	ctTupleReply, ctProtoInfo, ctFilter  = 2, 4, 25
	ctTupleIP, ctTupleProto              = 1, 2
	ctIPSource                           = 1
	ctProtoNum, ctProtoSourcePort        = 1, 2
	ctProtoInfoTCP                       = 1
	ctTCPState, ctTCPFlagsOriginal       = 1, 4
	ctFilterReply                        = 2
	ctFilterByIPSource, ctFilterByNumber = 1 << 0, 1 << 3

	tcpEstablished, tcpFinWait, tcpCloseWait = 3, 4, 5
	tcpFlagClosedFirst                       = 0x04
)

// flow is what connection tracking knows of a connection.
type flow struct {
	server     netip.Addr // that answers, whatever address the client called
	port       uint16     // of the server
	protocol   uint8
	state      uint8 // of TCP
	clientDone bool  // the client said first that it sends no more
}

// open tells whether an answer may still come. A client that only sends no more waits for it; a
// server that said so itself has no more to say.
func (f flow) open() bool {
	switch f.state {
	case tcpEstablished:
		return true
	case tcpFinWait, tcpCloseWait:
		return f.clientDone
	}
	return false
}

// Connections counts the connections that are open to these TCP ports of a container of this host,
// wherever they come from and whichever address they were made to. It needs CAP_NET_ADMIN.
func Connections(addr netip.Addr, ports []uint16) (int, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("open netlink: %w", err)
	}
	defer conn.Close()
	request, err := flowsFrom(addr)
	if err != nil {
		return 0, fmt.Errorf("ask for connections: %w", err)
	}
	messages, err := conn.Execute(request)
	if err != nil {
		return 0, fmt.Errorf("read connections: %w", err)
	}
	open := 0
	for _, message := range messages {
		f, err := readFlow(message.Data)
		if err != nil {
			return 0, fmt.Errorf("read connection: %w", err)
		}
		if f.protocol == unix.IPPROTO_TCP && f.server == addr && slices.Contains(ports, f.port) && f.open() {
			open++
		}
	}
	return open, nil
}

// header is the nfgenmsg before the attributes: family, version and 16 bits that mean nothing here.
var header = []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}

// flowsFrom asks for all TCP connections that addr answers. A kernel before 5.8 does not know the
// filter, and tells of all connections of the host.
func flowsFrom(addr netip.Addr) (netlink.Message, error) {
	attributes := netlink.NewAttributeEncoder()
	attributes.Nested(ctTupleReply, func(tuple *netlink.AttributeEncoder) error {
		tuple.Nested(ctTupleIP, func(ip *netlink.AttributeEncoder) error {
			ip.Bytes(ctIPSource, addr.AsSlice())
			return nil
		})
		tuple.Nested(ctTupleProto, func(proto *netlink.AttributeEncoder) error {
			proto.Uint8(ctProtoNum, unix.IPPROTO_TCP)
			return nil
		})
		return nil
	})
	attributes.Nested(ctFilter, func(filter *netlink.AttributeEncoder) error {
		filter.Uint32(ctFilterReply, ctFilterByIPSource|ctFilterByNumber)
		return nil
	})
	data, err := attributes.Encode()
	return netlink.Message{Header: netlink.Header{Type: ctGet, Flags: netlink.Request | netlink.Dump},
		Data: append(slices.Clone(header), data...)}, err
}

// readFlow reads a connection as the kernel tells of it.
func readFlow(data []byte) (f flow, err error) {
	if len(data) < len(header) {
		return f, fmt.Errorf("a message of %d bytes", len(data))
	}
	attributes, err := netlink.NewAttributeDecoder(data[len(header):])
	if err != nil {
		return f, err
	}
	attributes.ByteOrder = binary.BigEndian
	for attributes.Next() {
		switch attributes.Type() {
		case ctTupleReply:
			within(attributes, f.readReply)
		case ctProtoInfo:
			within(attributes, f.readProtoInfo)
		}
	}
	return f, attributes.Err()
}

// within reads the attributes that the present one holds.
func within(attributes *netlink.AttributeDecoder, read func(*netlink.AttributeDecoder)) {
	attributes.Nested(func(inner *netlink.AttributeDecoder) error {
		for inner.Next() {
			read(inner)
		}
		return nil
	})
}

// readReply reads the direction from the server to the client, which starts at the server's own
// address and port.
func (f *flow) readReply(tuple *netlink.AttributeDecoder) {
	switch tuple.Type() {
	case ctTupleIP:
		within(tuple, func(ip *netlink.AttributeDecoder) {
			if ip.Type() == ctIPSource {
				f.server, _ = netip.AddrFromSlice(ip.Bytes())
			}
		})
	case ctTupleProto:
		within(tuple, func(proto *netlink.AttributeDecoder) {
			switch proto.Type() {
			case ctProtoNum:
				f.protocol = proto.Uint8()
			case ctProtoSourcePort:
				f.port = proto.Uint16()
			}
		})
	}
}

func (f *flow) readProtoInfo(info *netlink.AttributeDecoder) {
	if info.Type() != ctProtoInfoTCP {
		return
	}
	within(info, func(tcp *netlink.AttributeDecoder) {
		switch tcp.Type() {
		case ctTCPState:
			f.state = tcp.Uint8()
		case ctTCPFlagsOriginal:
			f.clientDone = tcp.Uint16()>>8&tcpFlagClosedFirst != 0 // flags, then a mask
		}
	})
}
