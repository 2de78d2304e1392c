package skydns

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/skydns/udp"
	"github.com/dokkaa/dokkaa/skydns/wire"
	"github.com/miekg/dns"
)

// Whatever a packet holds, the server answers it or not, but never panics, never sends what cannot
// be read, and never more than the client takes, or than what is no query deserves.
func FuzzHandler(f *testing.F) {
	for _, query := range []*dns.Msg{
		question("web.big.skydns.local.", dns.TypeSRV),
		question("big.skydns.local.", dns.TypeA),
		question("skydns.local.", dns.TypeSOA),
		question("nope.skydns.local.", dns.TypeAAAA),
		question("www.example.org.", dns.TypeA),
		question(`odd\ \000\.name.skydns.local.`, dns.TypeTXT),
		question("big.skydns.local.", dns.TypeSRV).SetEdns0(1232, true),
		question("web.big.skydns.local.", dns.TypeSRV).SetEdns0(4096, false),
		question("big.skydns.local.", dns.TypeANY),
		question("version.bind.", dns.TypeTXT),
		question("4.3.2.1.in-addr.arpa.", dns.TypePTR),
		withCookie(question("big.skydns.local.", dns.TypeA)),
		new(dns.Msg),
	} {
		wire, err := query.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, false)
		f.Add(wire, true)
	}
	source := newFakeSource()
	source.set(instances(100))
	s := newServer(f, testConfig(), source)
	s.update()

	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		for _, host := range []string{"127.0.0.1", "192.0.2.1"} { // a neighbour and a stranger
			client := netip.AddrPortFrom(netip.MustParseAddr(host), 1)
			reply, refused := answerPacket(s, bytes.Clone(packet), client, tcp)
			if len(reply) == 0 {
				continue
			}
			got := new(dns.Msg)
			if err := got.Unpack(reply); err != nil {
				t.Fatalf("reply %x: %v", reply, err)
			}
			if got.Id != uint16(packet[0])<<8|uint16(packet[1]) || !got.Response {
				t.Errorf("not a reply to the query: %s", got.MsgHdr.String())
			}
			if refused && len(reply) > len(packet) {
				t.Errorf("%d bytes for %d that are no query", len(reply), len(packet))
			}
			query := new(dns.Msg)
			if err := query.Unpack(packet); err != nil {
				continue
			}
			if size := replySize(query, tcp); len(reply) > size {
				t.Errorf("%d bytes are more than %d", len(reply), size)
			}
			if (got.IsEdns0() != nil) != (query.IsEdns0() != nil) && !refused {
				t.Errorf("OPT in one of query and reply only: %v", got)
			}
		}
	})
}

// Whatever stands in a record, every question about it and above it gets a reply that can be read and
// is no larger than allowed, and the record beside it is answered as if it were alone.
func FuzzRecord(f *testing.F) {
	for _, value := range []string{
		`{"host":"10.0.0.2","port":80,"weight":3,"priority":1,"ttl":5}`, `{"host":"2001:db8::1","mail":true,"targetstrip":1}`,
		`{"host":"good.shop.skydns.local"}`, `{"host":"odd.shop.skydns.local"}`, `{"host":"www.example.org","port":443}`,
		`{"host":"10.0.0.2","group":"a","text":"\\ \"quoted\" \u0000"}`, `{"text":"` + strings.Repeat("x", 600) + `"}`,
		`{"host":"bad..name"}`, `{"port":70000}`, `{"port":"80"}`, `[]`, `nonsense`, "",
	} {
		f.Add("odd", value)
		f.Add("*", value)
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeMX, dns.TypeCNAME, dns.TypeNS, dns.TypePTR, dns.TypeHTTPS}
	client := netip.MustParseAddrPort("127.0.0.1:1")
	f.Fuzz(func(t *testing.T, id, value string) {
		if id == "" || id == "good" || strings.Contains(id, "/") {
			return // not one key beside the other
		}
		source := newFakeSource()
		source.set(map[string]string{"shop/good": `{"host":"10.0.0.1","port":80}`, "shop/" + id: value})
		s := newServer(t, testConfig(), source)
		s.update()
		names := []string{"good.shop.skydns.local.", "shop.skydns.local.", "*.shop.skydns.local."}
		if odd := dns.Fqdn(id + ".shop.skydns.local"); len(id) < 60 {
			if _, legal := dns.IsDomainName(odd); legal {
				names = append(names, odd)
			}
		}
		for _, name := range names {
			for _, qtype := range types {
				query := question(name, qtype)
				packet, err := query.Pack()
				if err != nil {
					continue // no name that could be asked for
				}
				reply, _ := answerPacket(s, packet, client, false)
				got := new(dns.Msg)
				if err := got.Unpack(reply); err != nil || len(reply) > dns.MinMsgSize {
					t.Fatalf("%s %s: %d bytes, err %v", name, dns.TypeToString[qtype], len(reply), err)
				}
				if name == names[0] && qtype == dns.TypeSRV && (len(got.Answer) != 1 || len(got.Extra) != 1) {
					t.Errorf("the record beside it: %v", got)
				}
			}
		}
	})
}

// answerPacket is what becomes of a packet, outside of all guards: a panic shows. It returns nothing
// if there is no reply. refused says that the packet was no query.
func answerPacket(s *Server, packet []byte, client netip.AddrPort, tcp bool) (reply []byte, refused bool) {
	w := &recorder{remote: net.TCPAddrFromAddrPort(client)}
	if !tcp {
		w.remote = net.UDPAddrFromAddrPort(client)
		for _, answer := range []func(dst, packet []byte, client netip.AddrPort) ([]byte, bool){s.Quick, s.Patient} {
			if reply, done := answer(make([]byte, 0, udp.MaxSize), packet, client); done {
				return reply, false
			}
		}
	}
	query, refusal := wire.Query(packet)
	switch {
	case query != nil:
		s.reply(newRequest(w, query))
		s.ServeDNS(w, query)
		return w.wire, false
	case refusal != nil:
		reply, _ = refusal.Pack() // an empty one is none
	}
	return reply, true
}

func withCookie(query *dns.Msg) *dns.Msg {
	query.SetEdns0(1232, false).IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
	return query
}
