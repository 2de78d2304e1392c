package forward

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Whatever a nameserver sends, what is taken of it can be unpacked, and cut to any size.
func FuzzAnswer(f *testing.F) {
	query := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA).SetEdns0(1232, true)
	for _, records := range []string{
		"www.example.org. 300 IN A 192.0.2.1|www.example.org. 60 IN AAAA 2001:db8::1",
		"www.example.org. 300 IN CNAME w.example.org.|w.example.org. 60 IN A 192.0.2.1",
		"example.org. 300 IN SOA ns.example.org. admin.example.org. 1 2 3 4 5",
		"www.example.org. 300 IN MX 10 mail.example.org.|www.example.org. 5 IN TXT \"a\" \"b\"",
		"www.example.org. 300 IN SRV 1 2 3 t.example.org.|www.example.org. 5 IN HTTPS 1 . alpn=h2",
	} {
		for _, compress := range []bool{true, false} {
			reply := new(dns.Msg).SetReply(query)
			reply.Compress = compress
			for text := range strings.SplitSeq(records, "|") {
				rr, err := dns.NewRR(text)
				if err != nil {
					f.Fatal(err)
				}
				if rr.Header().Rrtype == dns.TypeSOA {
					reply.Ns = append(reply.Ns, rr)
				} else {
					reply.Answer = append(reply.Answer, rr)
				}
			}
			reply.SetEdns0(1232, true)
			f.Add(pack(f, reply))
			reply.Extra = append(reply.Extra, address("behind.example.org.", 5))
			f.Add(pack(f, reply))
		}
	}
	packet := pack(f, query)
	f.Fuzz(func(t *testing.T, sent []byte) {
		var scratch [keyPrefix + maxName]byte
		q, err := parseQuery(packet, scratch[:])
		if err != nil {
			t.Fatal(err)
		}
		a := newAsked(q.key, q.size, false)
		if len(sent) > 1 {
			copy(sent, a.packet[:2])
		}
		if a.verdictOn(sent) != matching {
			return
		}
		taken, err := newAnswer(sent, q.key)
		if err != nil {
			return
		}
		for _, size := range []int{maxMessage, 512, 100, len(taken.wire) + optSize, len(taken.wire)} {
			wire := taken.append(nil, &q, size, 1, false)
			if len(wire) > size && size >= 512 {
				t.Errorf("%d bytes, want %d at most", len(wire), size)
			}
			reply := unpack(t, wire)
			if reply.IsEdns0() == nil || reply.Id != q.id16() || !reply.Response {
				t.Errorf("got %v", reply)
			}
		}
	})
}

// Whatever a client sends, it is a query or not, and the library sees the same in it.
func FuzzQuery(f *testing.F) {
	f.Add(pack(f, question(name)))
	f.Add(pack(f, question(".").SetEdns0(4096, true)))
	f.Fuzz(func(t *testing.T, packet []byte) {
		var scratch [keyPrefix + maxName]byte
		q, err := parseQuery(packet, scratch[:])
		if err != nil {
			return
		}
		if q.options {
			return // the library looks into them
		}
		msg := unpack(t, packet)
		again := pack(t, msg)
		var other [keyPrefix + maxName]byte
		p, err := parseQuery(again, other[:])
		if err != nil || string(p.key) != string(q.key) || p.id != q.id || string(p.question) != string(q.question) {
			t.Errorf("read %x as %x %x, the library as %x %x: %v", packet, q.key, q.question, p.key, p.question, err)
		}
	})
}

// A reply whose names are written out is no reason to ask again over TCP.
func TestNamesAreCompressed(t *testing.T) {
	query := new(dns.Msg).SetQuestion("a-name-of-some-length.example.org.", dns.TypeA)
	reply := new(dns.Msg).SetReply(query)
	for range 20 {
		reply.Answer = append(reply.Answer, address(query.Question[0].Name, 60))
	}
	var scratch [keyPrefix + maxName]byte
	q, err := parseQuery(pack(t, query), scratch[:])
	if err != nil {
		t.Fatal(err)
	}
	packet := pack(t, reply)
	a, err := newAnswer(packet, q.key)
	if err != nil {
		t.Fatal(err)
	}
	got := unpack(t, a.append(nil, &q, q.size, 0, false))
	if got.Truncated || len(got.Answer) != 20 || len(packet) <= minSize {
		t.Errorf("of %d bytes came %v", len(packet), got)
	}
}

func TestCutKeepsWholeRecords(t *testing.T) {
	query := question("big.example.org.").SetEdns0(600, false)
	reply := new(dns.Msg).SetReply(query)
	reply.Compress = true
	for range 30 {
		reply.Answer = append(reply.Answer, address("big.example.org.", 60))
	}
	reply.Ns = []dns.RR{address("ns.example.org.", 60)}
	reply.Extra = []dns.RR{address("a.example.org.", 60), address("b.example.org.", 60)}
	var scratch [keyPrefix + maxName]byte
	q, err := parseQuery(pack(t, query), scratch[:])
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAnswer(pack(t, reply), q.key)
	if err != nil {
		t.Fatal(err)
	}
	whole := len(a.wire) + optSize
	for size := whole; size >= 100; size-- {
		wire := a.append(nil, &q, size, 0, false)
		got := unpack(t, wire)
		if len(wire) > size || got.IsEdns0() == nil {
			t.Fatalf("%d bytes for %d: %v", len(wire), size, got)
		}
		if complete := len(got.Answer) == 30 && len(got.Ns) == 1; got.Truncated == complete {
			t.Errorf("size %d: TC is %v with %d and %d records", size, got.Truncated, len(got.Answer), len(got.Ns))
		}
		if size >= whole-16 && (len(got.Answer) != 30 || len(got.Ns) != 1 || len(got.Extra) < 2) {
			t.Errorf("size %d: too much went: %v", size, got)
		}
	}
}

func TestStubs(t *testing.T) {
	options := make(chan string, 1)
	near := startNameserver(t, func(w dns.ResponseWriter, query *dns.Msg) {
		if !Marked(query) {
			t.Error("the query carries no mark")
		}
		options <- query.IsEdns0().String()
		respond(w, query)
	})
	stubs := NewStubs(Options{Timeout: testTimeout})
	defer stubs.Close()
	zones := map[string][]netip.AddrPort{"example.org.": {nobody(t)}, "ext.example.org.": {nobody(t), near.addr}}
	if !stubs.Set(zones) || stubs.Set(zones) {
		t.Error("Set does not know a change from none")
	}
	f := stubs.Find("plain.ext.example.org.")
	if f == nil || f != stubs.Find("ext.example.org.") || f == stubs.Find("example.org.") || stubs.Find("org.") != nil || stubs.Find("notexample.org.") != nil {
		t.Error("not the longest zone")
	}
	reply, err := ask(t, f, question(name))
	if err != nil || len(reply.Answer) != 1 || reply.IsEdns0() != nil {
		t.Errorf("got %v, %v", reply, err)
	}
	if got := <-options; !strings.Contains(got, "udp: 0") || !strings.Contains(got, "65011:0x01") {
		t.Errorf("it was marked with %s", got)
	}
	if !stubs.Set(map[string][]netip.AddrPort{"ext.example.org.": {near.addr}}) || stubs.Find("example.org.") != nil || stubs.Find(strings.ToLower(name)) == f {
		t.Error("the zones are not the new ones")
	}
	if Marked(question(name)) || Marked(question(name).SetEdns0(512, false)) {
		t.Error("a query without the mark is taken for one with it")
	}
}
