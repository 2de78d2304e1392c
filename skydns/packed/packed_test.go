package packed_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/skydns/packed"
	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

const domain = "skydns.local."

// drawReply is a reply as the records could give it.
func drawReply(t *rapid.T) *dns.Msg {
	name := rapid.SampledFrom([]string{"", "web.", "web.shop.", "ns.dns.", `odd\.\ .shop.`, strings.Repeat("x", 63) + "."}).Draw(t, "name") + domain
	qtype := rapid.SampledFrom([]uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV}).Draw(t, "type")
	reply := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion(name, qtype))
	reply.Authoritative, reply.RecursionAvailable = rapid.Bool().Draw(t, "aa"), rapid.Bool().Draw(t, "ra")
	n := rapid.SampledFrom([]int{0, 1, 3, 8, 40, 255}).Draw(t, "answers")
	if n == 0 {
		reply.Rcode = rapid.SampledFrom([]int{dns.RcodeSuccess, dns.RcodeNameError}).Draw(t, "rcode")
		reply.Ns = []dns.RR{record(t, "%s 60 IN SOA ns.dns.%[1]s hostmaster.example.org. 1 28800 7200 604800 60", domain)}
	}
	for i := range n {
		ttl := rapid.IntRange(0, 7200).Draw(t, "ttl")
		address := record(t, "%s %d IN A 10.0.0.%d", name, ttl, i)
		target := name
		switch qtype {
		case dns.TypeA:
			reply.Answer = append(reply.Answer, address)
			continue
		case dns.TypeAAAA:
			reply.Answer = append(reply.Answer, record(t, "%s %d IN AAAA 2001:db8::%x", name, ttl, i))
			continue
		}
		if n > 1 {
			target = fmt.Sprintf("Instance%d.%s", i, name)
			if _, legal := dns.IsDomainName(target); !legal {
				target = fmt.Sprintf("i%d.%s", i, domain)
			}
		}
		reply.Answer = append(reply.Answer, record(t, "%s %d IN SRV 10 33 %d %s", name, ttl, i, target))
		if rapid.Bool().Draw(t, "glue") {
			address.Header().Name = target
			reply.Extra = append(reply.Extra, address)
		}
	}
	return reply
}

func record(t *rapid.T, format string, args ...any) dns.RR {
	rr, err := dns.NewRR(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// drawQuery asks for what reply answers.
func drawQuery(t *rapid.T, reply *dns.Msg) *dns.Msg {
	query := new(dns.Msg).SetQuestion(reply.Question[0].Name, reply.Question[0].Qtype)
	query.RecursionDesired, query.CheckingDisabled = rapid.Bool().Draw(t, "rd"), rapid.Bool().Draw(t, "cd")
	if rapid.Bool().Draw(t, "edns") {
		size := rapid.SampledFrom([]uint16{0, 512, 1232, 4096, 65535}).Draw(t, "size")
		query.SetEdns0(size, rapid.Bool().Draw(t, "do"))
	}
	return query
}

func texts(records []dns.RR) []string {
	var lines []string
	for _, rr := range records {
		if rr.Header().Rrtype != dns.TypeOPT {
			lines = append(lines, strings.ToLower(rr.String()))
		}
	}
	slices.Sort(lines)
	return lines
}

// Whatever is packed says the same as what the library makes of it, and is no larger, but for
// an SOA whose names could point at more of the question than the domain.
func TestPackedReplyIsTheReply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawReply(t)
		r, ok := packed.New(want, rapid.Bool().Draw(t, "shuffle"), time.Time{})
		if !ok {
			t.Fatalf("cannot be packed: %s", want)
		}
		query := drawQuery(t, want)
		packet, err := query.Pack()
		if err != nil {
			t.Fatal(err)
		}
		q, plain := packed.Parse(packet)
		if !plain {
			t.Fatalf("is not plain: %s", query)
		}
		maxTTL := rapid.SampledFrom([]uint32{packed.AnyTTL, 5, 0}).Draw(t, "max")
		wire := r.Append([]byte("before")[:6:6], &q, maxTTL)[6:]
		got := new(dns.Msg)
		if err := got.Unpack(wire); err != nil {
			t.Fatalf("%v: %x", err, wire)
		}

		want.Id, want.RecursionDesired, want.CheckingDisabled = query.Id, query.RecursionDesired, query.CheckingDisabled
		want.Question = query.Question
		for _, rr := range slices.Concat(want.Answer, want.Ns, want.Extra) {
			rr.Header().Ttl = min(rr.Header().Ttl, maxTTL)
		}
		limit := dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			limit = min(max(limit, int(opt.UDPSize())), packed.MaxSize)
			want.SetEdns0(packed.MaxSize, opt.Do())
		}
		want.Compress = true
		whole, all, without := want.Len(), len(want.Answer), 0
		if whole > limit {
			want.Extra = slices.DeleteFunc(want.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeOPT })
			without = want.Len()
		}
		if without > limit {
			want.Truncated = true
			if len(got.Answer) == 0 || len(wire)+all > limit && len(got.Answer) == all {
				t.Fatalf("%d of %d answers in %d of %d bytes", len(got.Answer), all, len(wire), limit)
			}
			kept := texts(got.Answer)
			want.Answer = slices.DeleteFunc(want.Answer, func(rr dns.RR) bool {
				return !slices.Contains(kept, strings.ToLower(rr.String()))
			})
		}
		if got.MsgHdr != want.MsgHdr || !slices.Equal(got.Question, want.Question) {
			t.Fatalf("header and question\n%s, want\n%s", got, want)
		}
		for i, section := range [][2][]dns.RR{{got.Answer, want.Answer}, {got.Ns, want.Ns}, {got.Extra, want.Extra}} {
			if !slices.Equal(texts(section[0]), texts(section[1])) || len(section[0]) != len(section[1]) {
				t.Fatalf("section %d:\n%s, want\n%s", i, got, want)
			}
		}
		if opt := got.IsEdns0(); opt != nil && opt.String() != want.IsEdns0().String() {
			t.Fatalf("%s, want %s", opt, want.IsEdns0())
		}
		if len(wire) > limit || len(wire) > want.Len() && len(want.Ns) == 0 {
			t.Fatalf("%d bytes of %d, the library takes %d", len(wire), limit, want.Len())
		}
	})
}

// A reply to what does not exist serves all names that do not, whatever their length.
func TestReplyForManyNames(t *testing.T) {
	absent := new(dns.Msg).SetQuestion("x."+domain, dns.TypeA)
	absent = new(dns.Msg).SetRcode(absent, dns.RcodeNameError)
	soa, err := dns.NewRR(domain + " 60 IN SOA ns.dns." + domain + " hostmaster." + domain + " 1 2 3 4 5")
	if err != nil {
		t.Fatal(err)
	}
	absent.Ns = []dns.RR{soa}
	r, ok := packed.New(absent, true, time.Time{})
	if !ok {
		t.Fatal("cannot be packed")
	}
	for _, name := range []string{"nope.", "much.LONGER.name.", ""} {
		packet, err := new(dns.Msg).SetQuestion(name+domain, dns.TypeSRV).Pack()
		if err != nil {
			t.Fatal(err)
		}
		q, _ := packed.Parse(packet)
		got := new(dns.Msg)
		if err := got.Unpack(r.Append(nil, &q, packed.AnyTTL)); err != nil || got.Question[0].Name != name+domain || len(got.Ns) != 1 || got.Ns[0].String() != soa.String() {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestOrderIsRandom(t *testing.T) {
	reply := new(dns.Msg).SetQuestion(domain, dns.TypeA)
	for i := range 3 {
		reply.Answer = append(reply.Answer, &dns.A{Hdr: dns.RR_Header{Name: domain, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(10, 0, 0, byte(i))})
	}
	packet, err := new(dns.Msg).SetQuestion(domain, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q, _ := packed.Parse(packet)
	for _, shuffle := range []bool{false, true} {
		r, _ := packed.New(reply, shuffle, time.Time{})
		orders := map[string]int{}
		for range 6000 {
			orders[string(r.Append(nil, &q, packed.AnyTTL))]++
		}
		if !shuffle && len(orders) != 1 || shuffle && len(orders) != 6 {
			t.Fatalf("shuffle %v: %d orders", shuffle, len(orders))
		}
		for _, n := range orders {
			if shuffle && (n < 800 || n > 1200) {
				t.Errorf("an order came %d times of 6000", n)
			}
		}
	}
}

func TestOnlyPlainQueriesAreRead(t *testing.T) {
	plain := new(dns.Msg).SetQuestion(domain, dns.TypeA).SetEdns0(1232, true)
	for title, change := range map[string]func(*dns.Msg){
		"response":       func(m *dns.Msg) { m.Response = true },
		"opcode":         func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
		"class":          func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no question":    func(m *dns.Msg) { m.Question = nil },
		"two questions":  func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"answer":         func(m *dns.Msg) { m.Answer = m.Extra },
		"authority":      func(m *dns.Msg) { m.Ns = m.Extra },
		"two additional": func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[0]) },
		"EDNS version":   func(m *dns.Msg) { m.IsEdns0().SetVersion(1) },
		"EDNS option": func(m *dns.Msg) {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
		},
	} {
		m := plain.Copy()
		change(m)
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := packed.Parse(packet); ok {
			t.Errorf("%s: counts as plain", title)
		}
	}
	packet, err := plain.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := packed.Parse(packet); !ok {
		t.Error("the plain one is not")
	}
	for end := range packet {
		if _, ok := packed.Parse(packet[:end]); ok {
			t.Errorf("the first %d bytes count as plain", end)
		}
	}
}

func TestUnder(t *testing.T) {
	const wire = "\x06skydns\x05local\x00"
	for name, want := range map[string]bool{
		domain: true, "web." + domain: true, "SkyDNS.LOCAL.": true, "a.b." + domain: true,
		"x" + domain: false, "local.": false, ".": false, "skydns.local.org.": false, `a\006skydns.local.`: false,
	} {
		packet, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if q, _ := packed.Parse(packet); q.Under([]byte(wire)) != want {
			t.Errorf("%s: %v, want %v", name, !want, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	packet, err := new(dns.Msg).SetQuestion(domain, dns.TypeA).SetEdns0(1232, true).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet)
	f.Fuzz(func(t *testing.T, packet []byte) {
		q, plain := packed.Parse(packet)
		if !plain {
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(packet); err != nil || len(m.Question) != 1 || m.Question[0].Qtype != q.Type || m.Opcode != dns.OpcodeQuery {
			t.Errorf("counts as plain: %v\n%s", err, m)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	reply := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("web.shop."+domain, dns.TypeSRV))
	for i := range 3 {
		target := fmt.Sprintf("0123456789a%d.web.shop.%s", i, domain)
		reply.Answer = append(reply.Answer, &dns.SRV{Hdr: dns.RR_Header{Name: reply.Question[0].Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET}, Target: target})
		reply.Extra = append(reply.Extra, &dns.A{Hdr: dns.RR_Header{Name: target, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(10, 0, 0, byte(i))})
	}
	r, ok := packed.New(reply, true, time.Time{})
	packet, err := new(dns.Msg).SetQuestion("web.shop."+domain, dns.TypeSRV).Pack()
	if !ok || err != nil {
		b.Fatal(ok, err)
	}
	buffer := make([]byte, packed.MaxSize)
	b.ReportAllocs()
	for b.Loop() {
		q, _ := packed.Parse(packet)
		r.Append(buffer[:0], &q, packed.AnyTTL)
	}
}
