package skydns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/skydns/packed"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

// client is who asks in tests.
var client = netip.MustParseAddrPort("127.0.0.1:1")

// slowly is the reply of the library's way.
func slowly(s *Server, query *dns.Msg) *recorder {
	w := &recorder{remote: net.UDPAddrFromAddrPort(client)}
	s.ServeDNS(w, query)
	return w
}

func quickly(t rapid.TB, s *Server, query *dns.Msg) (wire []byte, done bool) {
	packet, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return s.Quick(nil, packet, client)
}

// lower is the records as text gives them, in lower case: a kept reply's owners are as the last
// who asked slowly wrote them, which the question's name then hides.
func lower(records []dns.RR) []string { return strings.Split(strings.ToLower(text(records)), "\n") }

// Whatever the records and the question, what is kept says the same as what the library makes.
func TestQuickRepliesAreTheSlowOnes(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "web", "Up", "x-1", "0123456789ab", "any", "_tcp"})
	path := rapid.Map(rapid.SliceOfN(label, 1, 3), func(p []string) string { return strings.Join(p, "/") })
	value := rapid.Custom(func(t *rapid.T) string {
		host := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "www.example.org", "web.skydns.local", "bad..name", ""}).Draw(t, "host")
		return fmt.Sprintf(`{"host":%q,"port":%d,"ttl":%d,"weight":%d,"priority":%d,"group":%q,"targetstrip":%d}`, host,
			rapid.IntRange(0, 3).Draw(t, "port"), rapid.SampledFrom([]int{0, 5, 9000}).Draw(t, "ttl"), rapid.IntRange(0, 2).Draw(t, "weight"),
			rapid.IntRange(0, 2).Draw(t, "priority"), rapid.SampledFrom([]string{"", "", "g"}).Draw(t, "group"), rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "strip"))
	})
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		source := newFakeSource()
		s, err := New(testConfig(), source, discardLog(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]string{}
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			for p, v := range rapid.MapOfN(path, value, 0, 12).Draw(t, "records") {
				values[p] = v
			}
			source.set(values)
			s.update()
			for range rapid.IntRange(1, 10).Draw(t, "queries") {
				labels := strings.Split(path.Draw(t, "name"), "/")
				slices.Reverse(labels)
				name := strings.Join(labels, ".") + "." + rapid.SampledFrom([]string{"", "shop.", "*."}).Draw(t, "more") + "skydns.local."
				query := question(name, rapid.SampledFrom([]uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT}).Draw(t, "type"))
				query.CheckingDisabled = rapid.Bool().Draw(t, "cd")
				if rapid.Bool().Draw(t, "edns") {
					query.SetEdns0(rapid.SampledFrom([]uint16{512, 4096}).Draw(t, "size"), rapid.Bool().Draw(t, "do"))
				}
				slow := slowly(s, query)
				wire, done := quickly(t, s, query)
				if !done {
					continue
				}
				quick++
				got, want := new(dns.Msg), new(dns.Msg)
				if err := got.Unpack(wire); err != nil {
					t.Fatalf("%v: %x", err, wire)
				}
				if err := want.Unpack(slow.wire); err != nil {
					t.Fatal(err)
				}
				same := got.MsgHdr == want.MsgHdr && slices.Equal(got.Question, want.Question) && slices.Equal(lower(got.Ns), lower(want.Ns)) &&
					slices.Equal(lower(got.Answer), lower(want.Answer)) && slices.Equal(lower(got.Extra), lower(want.Extra)) &&
					(got.IsEdns0() == nil) == (want.IsEdns0() == nil)
				if !same || len(wire) > replySize(query, false) {
					t.Fatalf("quick, %d bytes:\n%s\nslow, %d bytes:\n%s", len(wire), got, len(slow.wire), want)
				}
			}
		}
	})
	if quick == 0 {
		t.Error("no reply was quick")
	}
}

func TestQuickAnswers(t *testing.T) {
	source := newFakeSource()
	source.set(instances(3))
	s := newServer(t, testConfig(), source)
	s.update()
	for _, c := range []struct {
		name  string
		qtype uint16
		quick bool
	}{
		{"web.big.skydns.local.", dns.TypeSRV, true},
		{"web.big.skydns.local.", dns.TypeA, true},
		{"web.big.skydns.local.", dns.TypeAAAA, true}, // NODATA
		{"skydns.local.", dns.TypeA, true},
		{"nope.skydns.local.", dns.TypeA, true},
		{"web.big.skydns.local.", dns.TypeTXT, false},
		{"web.*.skydns.local.", dns.TypeSRV, false},
		{"any.big.skydns.local.", dns.TypeSRV, false},
		{"_web._tcp.skydns.local.", dns.TypeSRV, false},
		{"local.dns.skydns.local.", dns.TypeA, false},
		{"www.example.org.", dns.TypeA, false},
	} {
		if _, done := quickly(t, s, question(c.name, c.qtype)); done {
			t.Errorf("%s %s: the first is quick", c.name, dns.TypeToString[c.qtype])
		}
		slowly(s, question(c.name, c.qtype))
		if _, done := quickly(t, s, question(c.name, c.qtype)); done != c.quick {
			t.Errorf("%s %s: the second is quick: %v, want %v", c.name, dns.TypeToString[c.qtype], done, c.quick)
		}
	}
	packet, err := question("other.skydns.local.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, packed.MaxSize)
	if allocated := testing.AllocsPerRun(1000, func() { s.Quick(buffer[:0], packet, client) }); allocated != 0 {
		t.Errorf("%v allocations for a query", allocated)
	}
	source.set(map[string]string{"other": `{"host":"10.0.0.1"}`})
	s.update()
	for _, name := range []string{"web.big.skydns.local.", "skydns.local.", "other.skydns.local."} {
		if _, done := quickly(t, s, question(name, dns.TypeA)); done && name != "web.big.skydns.local." {
			t.Errorf("%s: the reply is from before the change", name)
		}
	}
}

// While the store is away the quick way goes on, as the other one does.
func TestQuickStaleAnswers(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *fakeSource) {
		source.set(instances(3))
		synctest.Wait()
		query := question("web.big.skydns.local.", dns.TypeSRV)
		slowly(s, query)
		ask := func() []dns.RR {
			wire, done := quickly(t, s, query)
			if !done {
				return nil
			}
			reply := new(dns.Msg)
			if err := reply.Unpack(wire); err != nil {
				t.Fatal(err)
			}
			return append(reply.Answer, reply.Extra...)
		}
		check := func(when string, ttl uint32) {
			records := ask()
			if len(records) != 6 {
				t.Fatalf("%s: %v", when, records)
			}
			for _, rr := range records {
				if rr.Header().Ttl != ttl {
					t.Errorf("%s: %s, want a TTL of %d", when, rr, ttl)
				}
			}
		}
		check("with the store", 3600)
		source.lose()
		synctest.Wait()
		check("at once", 3600)
		time.Sleep(staleGrace + time.Second)
		check("later", staleTTL)
		time.Sleep(s.config.MaxStale)
		if records := ask(); records != nil {
			t.Errorf("too late: %v", records)
		}
	})
}

func BenchmarkQuick(b *testing.B) {
	source := newFakeSource()
	source.set(instances(3))
	s := newServer(b, testConfig(), source)
	s.update()
	buffer := make([]byte, packed.MaxSize)
	for name, query := range map[string]*dns.Msg{
		"SRV": question("web.big.skydns.local.", dns.TypeSRV), "absent": question("nope.big.skydns.local.", dns.TypeA),
	} {
		b.Run(name, func(b *testing.B) {
			slowly(s, query)
			packet, err := query.Pack()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, done := s.Quick(buffer[:0], packet, client); !done {
					b.Fatal("not quick")
				}
			}
		})
	}
}
