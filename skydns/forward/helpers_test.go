package forward

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nameserver is one that answers as the test says, over UDP and TCP.
type nameserver struct {
	addr     netip.AddrPort
	udp, tcp atomic.Int32 // queries
}

func startNameserver(t testing.TB, handle dns.HandlerFunc) *nameserver {
	t.Helper()
	listener, packets := listen(t)
	n := &nameserver{addr: listener.Addr().(*net.TCPAddr).AddrPort()}
	counting := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		if overTCP(w) {
			n.tcp.Add(1)
		} else {
			n.udp.Add(1)
		}
		handle(w, query)
	})
	done := make(chan error, 2)
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: counting}, {Listener: listener, Handler: counting}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { done <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
			<-done
		})
	}
	return n
}

// listen opens both sockets at a port that is free for both.
func listen(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for n := 1; ; n++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return listener, packets
		}
		_ = listener.Close()
		if n == 20 {
			t.Fatal(err)
		}
	}
}

func overTCP(w dns.ResponseWriter) bool { return w.RemoteAddr().Network() == "tcp" }

func write(w dns.ResponseWriter, reply *dns.Msg) { _ = w.WriteMsg(reply) } // the asker notices

func address(name string, ttl uint32) dns.RR {
	return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: net.IPv4(192, 0, 2, 10)}
}

// respond answers every question with one address.
func respond(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg).SetReply(query)
	reply.Answer = []dns.RR{address(query.Question[0].Name, 300)}
	write(w, reply)
}

func hang(dns.ResponseWriter, *dns.Msg) {}

func code(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) { write(w, new(dns.Msg).SetRcode(query, rcode)) }
}

func nobody(t testing.TB) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

func newForwarder(t testing.TB, options Options) *Forwarder {
	t.Helper()
	if options.Timeout == 0 {
		options.Timeout = 300 * time.Millisecond
	}
	f := New(options)
	t.Cleanup(f.Close)
	return f
}

const name = "Plain.Ext.Example.Org."

func question(name string) *dns.Msg { return new(dns.Msg).SetQuestion(name, dns.TypeA) }

func pack(t testing.TB, msg *dns.Msg) []byte {
	t.Helper()
	packet, err := msg.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func unpack(t testing.TB, packet []byte) *dns.Msg {
	t.Helper()
	msg := new(dns.Msg)
	if err := msg.Unpack(packet); err != nil {
		t.Fatalf("reply %x: %v", packet, err)
	}
	return msg
}

// ask returns the reply to query, or the error's place as an empty message.
func ask(t testing.TB, f *Forwarder, query *dns.Msg) (*dns.Msg, error) {
	t.Helper()
	wire, err := f.Forward(t.Context(), nil, pack(t, query), maxMessage)
	if err != nil {
		return nil, err
	}
	return unpack(t, wire), nil
}

// wantAnswer checks that there is one reply with one record, as text with single spaces.
func wantAnswer(t testing.TB, f *Forwarder, query *dns.Msg, record string) {
	t.Helper()
	reply, err := ask(t, f, query)
	if err != nil {
		t.Error(err)
		return
	}
	if reply.Id != query.Id || reply.Question[0] != query.Question[0] {
		t.Errorf("not the reply to %v:\n%v", query, reply)
	}
	if len(reply.Answer) != 1 || strings.Join(strings.Fields(reply.Answer[0].String()), " ") != record {
		t.Errorf("got %v, want %s", reply.Answer, record)
	}
}

const plain = name + " 300 IN A 192.0.2.10"

const testTimeout = 300 * time.Millisecond

func (q *query) id16() uint16 { return uint16(q.id[0])<<8 | uint16(q.id[1]) }
