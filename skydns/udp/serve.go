package udp

import (
	"net"
	"net/netip"

	"github.com/dokkaa/dokkaa/skydns/wire"
	"github.com/miekg/dns"
)

// serve has a packet answered, packed or unpacked.
func serve(w *writer, packet []byte, handler Handler) {
	if reply, done := handler.Patient(nil, packet, w.client); done {
		if len(reply) > 0 {
			_, _ = w.Write(reply) // a client that does not get it asks again
		}
		return
	}
	query, refusal := wire.Query(packet)
	switch {
	case query != nil:
		handler.ServeDNS(w, query)
	case refusal != nil:
		_ = w.WriteMsg(refusal) // who sends such packets need not have an answer
	}
}

// writer sends the reply to one packet.
type writer struct {
	conn   *net.UDPConn
	client netip.AddrPort
	origin []byte // see batch
}

func (w *writer) LocalAddr() net.Addr  { return w.conn.LocalAddr() }
func (w *writer) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(w.client) }
func (w *writer) Network() string      { return "udp" }

func (w *writer) WriteMsg(reply *dns.Msg) error {
	wire, err := reply.Pack()
	if err != nil {
		return err
	}
	_, err = w.Write(wire)
	return err
}

func (w *writer) Write(reply []byte) (int, error) {
	n, _, err := w.conn.WriteMsgUDPAddrPort(reply, w.origin, w.client)
	return n, err
}

// Close, TsigStatus, TsigTimersOnly and Hijack are what the library asks of a ResponseWriter: there
// is nothing to close or to take over, and no TSIG.
func (w *writer) Close() error        { return nil }
func (w *writer) TsigStatus() error   { return nil }
func (w *writer) TsigTimersOnly(bool) {}
func (w *writer) Hijack()             {}
