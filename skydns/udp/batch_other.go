//go:build !linux

package udp

import (
	"net"
	"net/netip"
)

// batch is one packet and its reply: the systems without calls for many are not those that serve.
type batch struct {
	conn   *net.UDPConn
	buffer [MaxSize]byte
	space  [MaxSize]byte
	size   int
	from   netip.AddrPort
	wire   []byte
}

func newBatch(conn *net.UDPConn) (*batch, error) { return &batch{conn: conn}, nil }

// receive waits for packets, and returns how many there are.
func (b *batch) receive() (n int, err error) {
	b.wire = nil
	b.size, b.from, err = b.conn.ReadFromUDPAddrPort(b.buffer[:])
	return 1, err
}

func (b *batch) packet(int) []byte         { return b.buffer[:b.size] }
func (b *batch) client(int) netip.AddrPort { return b.from }
func (b *batch) origin(int) []byte         { return nil }
func (b *batch) room() []byte              { return b.space[:0] }
func (b *batch) reply(_ int, wire []byte)  { b.wire = wire }

// send sends the replies. One that cannot be sent is left out: its client asks again.
func (b *batch) send() error {
	if len(b.wire) > 0 {
		_, _ = b.conn.WriteToUDPAddrPort(b.wire, b.from)
	}
	return nil
}
