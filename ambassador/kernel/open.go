package kernel

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of the kernel's nfnetlink_conntrack.h and nf_conntrack_tcp.h.
const (
	ctGet = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET

	ctProtoInfo, ctMark, ctMarkMask = 4, 8, 21
	ctProtoInfoTCP, ctTCPState      = 1, 1

	tcpEstablished, tcpCloseWait = 3, 5
)

// Open counts the connections that are open to each instance. It looks at all of the host's.
func (t *Table) Open() (map[Instance]int, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer conn.Close()
	attributes := netlink.NewAttributeEncoder()
	attributes.ByteOrder = binary.BigEndian
	attributes.Uint32(ctMark, markPrefix)
	attributes.Uint32(ctMarkMask, markMask)
	data, err := attributes.Encode()
	if err != nil {
		return nil, err
	}
	messages, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: ctGet, Flags: netlink.Request | netlink.Dump},
		Data: append([]byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}, data...)})
	if err != nil {
		return nil, fmt.Errorf("read connections: %w", err)
	}
	open := make(map[Instance]int)
	for _, message := range messages {
		mark, state, err := readConnection(message.Data)
		if err != nil {
			return nil, fmt.Errorf("read connection: %w", err)
		}
		if i, ok := t.byMark[mark]; ok && tcpEstablished <= state && state <= tcpCloseWait {
			open[i]++
		}
	}
	return open, nil
}

func readConnection(data []byte) (mark uint32, state uint8, err error) {
	if len(data) < 4 {
		return 0, 0, fmt.Errorf("a message of %d bytes", len(data))
	}
	attributes, err := netlink.NewAttributeDecoder(data[4:])
	if err != nil {
		return 0, 0, err
	}
	attributes.ByteOrder = binary.BigEndian
	for attributes.Next() {
		switch attributes.Type() {
		case ctMark:
			mark = attributes.Uint32()
		case ctProtoInfo:
			attributes.Nested(func(info *netlink.AttributeDecoder) error {
				for info.Next() {
					if info.Type() == ctProtoInfoTCP {
						info.Nested(func(tcp *netlink.AttributeDecoder) error {
							for tcp.Next() {
								if tcp.Type() == ctTCPState {
									state = tcp.Uint8()
								}
							}
							return nil
						})
					}
				}
				return nil
			})
		}
	}
	return mark, state, attributes.Err()
}
