package udp

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// headerSize is the size of a message's header.
const headerSize = 12

// serve unpacks a packet and has it answered, as the library's own server does.
func serve(w *writer, packet []byte, handler dns.Handler) {
	if len(packet) < headerSize {
		return
	}
	var fields [headerSize / 2]uint16
	for i := range fields {
		fields[i] = binary.BigEndian.Uint16(packet[2*i:])
	}
	action := dns.DefaultMsgAcceptFunc(dns.Header{
		Id: fields[0], Bits: fields[1], Qdcount: fields[2], Ancount: fields[3], Nscount: fields[4], Arcount: fields[5],
	})
	if action == dns.MsgIgnore {
		return
	}
	req := new(dns.Msg)
	err := req.Unpack(packet)
	if action == dns.MsgAccept && err == nil {
		handler.ServeDNS(w, req)
		return
	}
	reply := new(dns.Msg)
	reply.Id, reply.Response, reply.RecursionDesired = fields[0], true, fields[1]&(1<<8) != 0
	reply.Opcode, reply.Rcode = int(fields[1]>>11&0x0f), dns.RcodeFormatError
	if action == dns.MsgRejectNotImplemented {
		reply.Rcode = dns.RcodeNotImplemented
	}
	if len(req.Question) > 0 {
		reply.Question = req.Question[:1]
	}
	_ = w.WriteMsg(reply) // who sends such packets need not have an answer
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
