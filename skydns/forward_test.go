package skydns

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/handover"
	"github.com/miekg/dns"
)

// fakeUpstream is a nameserver that answers as the test says, over UDP and TCP.
type fakeUpstream struct {
	addr  netip.AddrPort
	asked atomic.Int32
}

func startUpstream(t *testing.T, handle func(w dns.ResponseWriter, query *dns.Msg)) *fakeUpstream {
	t.Helper()
	var sockets sockets
	eventually(t, func() (err error) { // what is free for TCP may not be for UDP
		sockets, err = bindLoopback(t)
		return err
	})
	u := &fakeUpstream{addr: sockets.addr()}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		u.asked.Add(1)
		handle(w, query)
	})
	done := make(chan error, 2)
	udp := &dns.Server{PacketConn: sockets.udp, Handler: handler}
	tcp := &dns.Server{Listener: sockets.tcp, Handler: handler}
	for _, server := range []*dns.Server{udp, tcp} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { done <- server.ActivateAndServe() }()
		<-started
	}
	t.Cleanup(func() {
		for _, server := range []*dns.Server{udp, tcp} {
			if err := server.Shutdown(); err != nil {
				t.Error(err)
			}
		}
		<-done
		<-done
	})
	return u
}

// bindLoopback binds sockets that nobody else keeps.
func bindLoopback(t *testing.T) (sockets, error) {
	from := handover.Alone()
	defer from.Close()
	return bind(t.Context(), from, netip.MustParseAddrPort("127.0.0.1:0"))
}

// respond replies with one A record for whatever was asked.
func respond(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	reply.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
		A:   net.IPv4(192, 0, 2, 10),
	}}
	_ = w.WriteMsg(reply) // the client notices
}

func respondCode(rcode int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, query *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(query, rcode)) // the client notices
	}
}

func hang(dns.ResponseWriter, *dns.Msg) {}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	sockets, err := bindLoopback(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := sockets.close(); err != nil {
		t.Fatal(err)
	}
	return sockets.addr()
}

func forwarding(t *testing.T, nameservers ...netip.AddrPort) string {
	t.Helper()
	config := testConfig()
	config.Nameservers = nameservers
	_, _, addr := serve(t, config, shop)
	return addr
}

const plain = "plain.ext.example. 300 IN A 192.0.2.10"

func TestForeignNamesAreForwarded(t *testing.T) {
	upstream := startUpstream(t, respond)
	addr := forwarding(t, upstream.addr)
	for _, network := range []string{"udp", "tcp"} {
		query := question("plain.ext.example.", dns.TypeA)
		reply := exchange(t, network, addr, query)
		want(t, reply, dns.RcodeSuccess, []string{plain}, nil)
		if reply.Authoritative || !reply.RecursionAvailable {
			t.Errorf("flags are not the upstream's: %s", reply.MsgHdr.String())
		}
	}
	// It ends like the domain, but is not below it.
	reply := ask(t, addr, "NOTskydns.local.", dns.TypeA)
	want(t, reply, dns.RcodeSuccess, []string{"NOTskydns.local. 300 IN A 192.0.2.10"}, nil)
	if reply.Question[0].Name != "NOTskydns.local." {
		t.Errorf("question came back as %q", reply.Question[0].Name)
	}
	asked := upstream.asked.Load()
	want(t, ask(t, addr, "nope.skydns.local.", dns.TypeA), dns.RcodeNameError, nil, nil)
	want(t, ask(t, addr, "host.", dns.TypeA), dns.RcodeServerFailure, nil, nil)
	if upstream.asked.Load() != asked {
		t.Error("a name of our own, or a single label, was asked of the nameserver")
	}
}

func TestUpstreamsWordIsRelayed(t *testing.T) {
	for _, rcode := range []int{dns.RcodeNameError, dns.RcodeRefused, dns.RcodeServerFailure} {
		upstream := startUpstream(t, respondCode(rcode))
		want(t, ask(t, forwarding(t, upstream.addr), "x.ext.example.", dns.TypeA), rcode, nil, nil)
	}
}

func TestServerFailureIsAskedAboutAgain(t *testing.T) {
	var asked atomic.Int32
	upstream := startUpstream(t, func(w dns.ResponseWriter, query *dns.Msg) {
		if asked.Add(1) == 1 {
			respondCode(dns.RcodeServerFailure)(w, query)
			return
		}
		respond(w, query)
	})
	want(t, ask(t, forwarding(t, upstream.addr), "plain.ext.example.", dns.TypeA), dns.RcodeSuccess, []string{plain}, nil)
}

func TestNextNameserverIsAsked(t *testing.T) {
	good := startUpstream(t, respond)
	wrong := func(w dns.ResponseWriter, query *dns.Msg) {
		query = query.Copy()
		query.Question[0].Name = "other.example."
		respond(w, query)
	}
	for title, bad := range map[string]netip.AddrPort{
		"nobody there":       closedPort(t),
		"hangs":              startUpstream(t, hang).addr,
		"answers otherwise":  startUpstream(t, wrong).addr,
		"repeats the packet": startUpstream(t, func(w dns.ResponseWriter, query *dns.Msg) { _ = w.WriteMsg(query) }).addr,
	} {
		t.Run(title, func(t *testing.T) {
			addr := forwarding(t, bad, good.addr)
			for range 8 {
				want(t, ask(t, addr, "plain.ext.example.", dns.TypeA), dns.RcodeSuccess, []string{plain}, nil)
			}
		})
	}
}

func TestSilentNameserverIsShunned(t *testing.T) {
	good, silent := startUpstream(t, respond), startUpstream(t, hang)
	addr := forwarding(t, silent.addr, good.addr)
	for range 30 {
		want(t, ask(t, addr, "plain.ext.example.", dns.TypeA), dns.RcodeSuccess, []string{plain}, nil)
	}
	if n := silent.asked.Load(); n > 1 {
		t.Errorf("the silent nameserver was waited for %d times", n)
	}
}

func TestAllNameserversFailing(t *testing.T) {
	for title, nameservers := range map[string][]netip.AddrPort{
		"nobody there": {closedPort(t), closedPort(t)},
		"hanging":      {startUpstream(t, hang).addr, startUpstream(t, hang).addr, startUpstream(t, hang).addr, startUpstream(t, hang).addr},
		"none":         nil,
	} {
		t.Run(title, func(t *testing.T) {
			addr := forwarding(t, nameservers...)
			start := time.Now()
			reply := ask(t, addr, "plain.ext.example.", dns.TypeA)
			want(t, reply, dns.RcodeServerFailure, nil, nil)
			if reply.RecursionAvailable != (nameservers != nil) {
				t.Errorf("RA is %v", reply.RecursionAvailable)
			}
			if took, most := time.Since(start), 4*testConfig().Timeout; took > most {
				t.Errorf("it took %s, more than %s", took, most)
			}
			want(t, ask(t, addr, "db.shop.skydns.local.", dns.TypeA), dns.RcodeSuccess,
				[]string{"db.shop.skydns.local. 30 IN A 10.30.0.1"}, nil)
		})
	}
}

func TestTruncatedReplyIsFetchedOverTCP(t *testing.T) {
	truncating := func(tcp func(dns.ResponseWriter, *dns.Msg)) netip.AddrPort {
		return startUpstream(t, func(w dns.ResponseWriter, query *dns.Msg) {
			if w.RemoteAddr().Network() == "tcp" {
				tcp(w, query)
				return
			}
			reply := new(dns.Msg).SetReply(query)
			reply.Truncated = true
			_ = w.WriteMsg(reply) // the client notices
		}).addr
	}
	addr := forwarding(t, truncating(respond))
	want(t, ask(t, addr, "plain.ext.example.", dns.TypeA), dns.RcodeSuccess, []string{plain}, nil)

	addr = forwarding(t, truncating(hang))
	if reply := ask(t, addr, "plain.ext.example.", dns.TypeA); !reply.Truncated || reply.Rcode != dns.RcodeSuccess {
		t.Errorf("TCP failed as well, got %s", reply.MsgHdr.String())
	}

	addr = forwarding(t, truncating(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		for i := range 100 {
			reply.Answer = append(reply.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, byte(i))})
		}
		_ = w.WriteMsg(reply) // the client notices
	}))
	reply := ask(t, addr, "plain.ext.example.", dns.TypeA)
	reply.Compress = true
	if !reply.Truncated || reply.Len() > dns.MinMsgSize || len(reply.Answer) == 0 {
		t.Errorf("what does not fit the client must say so: %s", reply.MsgHdr.String())
	}
}

func TestNeverAsksItself(t *testing.T) {
	self := closedPort(t)
	config := testConfig()
	config.Nameservers = []netip.AddrPort{self}
	for _, listen := range []string{"127.0.0.1", "0.0.0.0", "::"} {
		config.Listen = []Endpoint{{Addr: netip.MustParseAddr(listen), Port: self.Port()}}
		source := newFakeSource()
		source.set(nil)
		s := newServer(t, config, source)
		stop := run(t, s)
		eventually(t, s.Ready)
		if !s.isSelf(self) || s.isSelf(netip.AddrPortFrom(self.Addr(), self.Port()+1)) || s.isSelf(netip.MustParseAddrPort("192.0.2.53:53")) {
			t.Errorf("listening on %s: does not know itself", listen)
		}
		want(t, ask(t, self.String(), "plain.ext.example.", dns.TypeA), dns.RcodeServerFailure, nil, nil)
		stop()
	}
}

func TestOnlyNeighboursMayRecurse(t *testing.T) {
	settings, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	config, err := settings.config()
	if err != nil {
		t.Fatal(err)
	}
	for addr, may := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.1.2.3": true, "172.20.0.9": true, "192.168.1.1": true, "fd00::1": true,
		"169.254.1.1": true, "fe80::1": true, "::ffff:10.1.2.3": true,
		"8.8.8.8": false, "172.32.0.1": false, "2001:4860::1": false, "::ffff:8.8.8.8": false,
	} {
		if got := config.Recursion.Contain(netip.MustParseAddr(addr)); got != may {
			t.Errorf("%s may recurse: %v, want %v", addr, got, may)
		}
	}
	s := newServer(t, testConfig(), newFakeSource())
	w := &recorder{remote: &net.UDPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 1}}
	s.ServeDNS(w, question("plain.ext.example.", dns.TypeA))
	want(t, w.reply(t), dns.RcodeRefused, nil, nil)
}
