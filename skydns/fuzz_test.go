package skydns

import (
	"net"
	"testing"

	"github.com/miekg/dns"
)

// Whatever a packet holds, the server answers it or not, but never panics, and never sends
// more than the client takes.
func FuzzHandler(f *testing.F) {
	for _, query := range []*dns.Msg{
		question("web.big.skydns.local.", dns.TypeSRV),
		question("big.skydns.local.", dns.TypeA),
		question("skydns.local.", dns.TypeSOA),
		question("nope.skydns.local.", dns.TypeAAAA),
		question("www.example.org.", dns.TypeA),
		question(`odd\ \000\.name.skydns.local.`, dns.TypeTXT),
		question("big.skydns.local.", dns.TypeSRV).SetEdns0(1232, true),
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
		query := new(dns.Msg)
		if err := query.Unpack(packet); err != nil {
			if _, done := s.Quick(nil, packet, client); done {
				t.Error("a packet that is no message was answered")
			}
			return // the library answers these
		}
		w := &recorder{remote: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}}
		if tcp {
			w.remote = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
		}
		s.reply(newRequest(w, query)) // outside the guard: a panic shows
		s.ServeDNS(w, query)
		if len(w.wire) > replySize(query, tcp) {
			t.Errorf("%d bytes are more than %d", len(w.wire), replySize(query, tcp))
		}
		if len(w.wire) == 0 {
			t.Error("no reply")
			return
		}
		if quick, done := s.Quick(nil, packet, client); done && !tcp {
			w.wire = quick
			if len(quick) > replySize(query, false) {
				t.Errorf("quick: %d bytes are more than %d", len(quick), replySize(query, false))
			}
		}
		if reply := w.reply(t); reply.Id != query.Id || !reply.Response {
			t.Errorf("not a reply to the query: %s", reply.MsgHdr.String())
		}
	})
}
