package skydns

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/skydns/limit"
	"github.com/miekg/dns"
)

func TestEDNS(t *testing.T) {
	_, _, addr := serve(t, testConfig(), shop)
	option := func(options ...dns.EDNS0) func(*dns.Msg) {
		return func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().Option = options }
	}
	cookie := func(hex string) func(*dns.Msg) {
		return option(&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex})
	}
	for title, c := range map[string]struct {
		edit  func(*dns.Msg)
		rcode int
		opt   bool
	}{
		"none":               {func(*dns.Msg) {}, dns.RcodeSuccess, false},
		"plain":              {func(m *dns.Msg) { m.SetEdns0(1232, true) }, dns.RcodeSuccess, true},
		"another version":    {func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) }, dns.RcodeBadVers, true},
		"an unknown option":  {option(&dns.EDNS0_LOCAL{Code: 65002, Data: []byte("x")}), dns.RcodeSuccess, true},
		"two OPT records":    {func(m *dns.Msg) { m.SetEdns0(1232, false); m.Extra = append(m.Extra, m.Extra[0]) }, dns.RcodeFormatError, true},
		"a cookie":           {cookie("0102030405060708"), dns.RcodeSuccess, true},
		"a cookie too short": {cookie("01020304"), dns.RcodeFormatError, true},
		"a cookie too odd":   {cookie("010203040506070809"), dns.RcodeFormatError, true},
	} {
		for _, network := range []string{"udp", "tcp"} {
			query := question("db.shop.skydns.local.", dns.TypeA)
			c.edit(query)
			reply := exchange(t, network, addr, query)
			opt := reply.IsEdns0()
			if reply.Rcode != c.rcode || (opt != nil) != c.opt {
				t.Errorf("%s: %v", title, reply)
				continue
			}
			if opt == nil {
				continue
			}
			if opt.Version() != 0 || opt.Do() != (title == "plain") {
				t.Errorf("%s: %v", title, opt)
			}
			if title == "a cookie" {
				got := opt.Option[0].(*dns.EDNS0_COOKIE).Cookie
				if len(got) != 48 || !strings.HasPrefix(got, "0102030405060708") {
					t.Errorf("cookie %s", got)
				}
			} else if len(opt.Option) > 0 {
				t.Errorf("%s: %v", title, opt)
			}
		}
	}
}

// limited returns a server that answers strangers twice a second.
func limited(t *testing.T, slip int) *Server {
	config := testConfig()
	config.Limit = limit.Options{Rate: 2, Slip: slip, Exempt: neighbours()}
	source := newFakeSource()
	source.set(shop)
	s := newServer(t, config, source)
	s.update()
	return s
}

func TestFloodIsCut(t *testing.T) {
	for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT} { // what is kept, and what is not
		floodIsCut(t, question("db.shop.skydns.local.", qtype).SetEdns0(1232, false))
	}
}

func floodIsCut(t *testing.T, query *dns.Msg) {
	packet, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	flood := func(s *Server, client netip.AddrPort) (sent, cut, dropped int) {
		for range 100 {
			wire, done := s.Quick(make([]byte, 0, 4096), packet, client)
			if !done {
				w := &recorder{remote: net.UDPAddrFromAddrPort(client)}
				s.ServeDNS(w, query)
				wire = w.wire
			}
			reply := new(dns.Msg)
			switch err := reply.Unpack(wire); {
			case len(wire) == 0:
				dropped++
			case err != nil || reply.Id != query.Id || reply.IsEdns0() == nil || len(wire) > 4*len(packet):
				t.Fatalf("%x: %v", wire, err)
			case !reply.Authoritative || !reply.RecursionAvailable:
				t.Fatalf("flags of another reply: %v", reply)
			case reply.Truncated && len(reply.Answer) == 0:
				cut++
			default:
				sent++
			}
		}
		return sent, cut, dropped
	}
	stranger, neighbour := netip.MustParseAddrPort("192.0.2.1:1234"), netip.MustParseAddrPort("10.0.0.1:1234")
	if sent, cut, dropped := flood(limited(t, 2), stranger); sent < 3 || sent > 5 || cut < 20 || dropped < 20 {
		t.Errorf("a stranger: %d sent, %d cut, %d dropped", sent, cut, dropped)
	}
	if sent, cut, _ := flood(limited(t, 0), stranger); sent > 5 || cut > 0 {
		t.Errorf("without slip: %d sent, %d cut", sent, cut)
	}
	if sent, _, _ := flood(limited(t, 2), neighbour); sent != 100 {
		t.Errorf("a neighbour: %d sent", sent)
	}
}

func TestCookieLiftsTheLimit(t *testing.T) {
	s := limited(t, 0)
	ask := func(cookie string) *dns.Msg {
		query := question("db.shop.skydns.local.", dns.TypeA).SetEdns0(1232, false)
		query.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
		w := &recorder{remote: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}
		s.ServeDNS(w, query)
		if w.wire == nil {
			return nil
		}
		return w.reply(t)
	}
	first := hex.EncodeToString([]byte("a client"))
	cookie := ask(first).IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
	for range 50 {
		if reply := ask(cookie); reply == nil || len(reply.Answer) != 1 {
			t.Fatalf("with a cookie: %v", reply)
		}
	}
	answered := 0
	for range 50 {
		if ask(first) != nil {
			answered++
		}
	}
	if answered > 5 {
		t.Errorf("without: %d replies", answered)
	}
}

func TestQueryLog(t *testing.T) {
	config := testConfig()
	config.LogEvery = 3
	source := newFakeSource()
	source.set(shop)
	s := newServer(t, config, source)
	s.update()
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	packet, err := question("db.shop.skydns.local.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		s.ServeDNS(&recorder{remote: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}}, question("db.shop.skydns.local.", dns.TypeA))
		if _, done := s.Quick(make([]byte, 0, 4096), packet, netip.MustParseAddrPort("127.0.0.1:2")); !done {
			t.Error("no quick answer")
		}
	}
	if n := strings.Count(log.String(), `question="db.shop.skydns.local. A" rcode=NOERROR`); n != 2 {
		t.Errorf("%d of 8 queries logged, want 2:\n%s", n, log.String())
	}
}
