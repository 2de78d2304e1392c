package skydns

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// shop is the worked example of the specification, and some odd ones.
var shop = map[string]string{
	"shop/web/i1":      `{"host":"10.20.0.1","port":49153}`,
	"shop/web/i2":      `{"host":"10.20.0.2","port":49154}`,
	"shop/db":          `{"host":"10.30.0.1","port":5432,"ttl":30}`,
	"al":               `{"host":"web.shop.skydns.local"}`,
	"ext":              `{"host":"www.example.org","port":80}`,
	"mix/v4":           `{"host":"10.0.1.125","port":80}`,
	"mix/v6":           `{"host":"2001:db8::8:1","port":80}`,
	"one/a":            `{"host":"10.1.0.5","port":1000}`,
	"one/b":            `{"host":"10.1.0.5","port":1001}`,
	"same/a":           `{"host":"10.1.0.6","port":1000}`,
	"same/b":           `{"host":"10.1.0.6","port":1000}`,
	"odd/i1":           `{"host":"10.1.0.7","port":1000}`,
	"odd/broken":       `{"host":"10.1.0.8"`,
	"odd/bad":          `{"host":"bad..name","port":80}`,
	"odd/port":         `{"host":"10.1.0.9","port":70000}`,
	"odd/note":         `{"text":"nothing to reach here"}`,
	"id/" + longID:     `{"host":"10.1.0.10","port":80}`,
	"ttl/long":         `{"host":"10.1.1.1","ttl":7200}`,
	"levels/a":         `{"host":"10.1.2.1","ttl":50}`,
	"levels/b":         `{"host":"10.1.2.2","ttl":500}`,
	"levels/c":         `{"host":"10.1.2.3"}`,
	"prio/a":           `{"host":"10.1.3.1","port":1,"priority":5,"weight":30,"ttl":45}`,
	"prio/b":           `{"host":"10.1.3.2","port":1,"weight":120}`,
	"prio/c":           `{"host":"10.1.3.3","port":1,"weight":100}`,
	"prio/d":           `{"host":"10.1.3.4","port":1,"weight":130}`,
	"Capital/Instance": `{"host":"10.1.4.1","port":1}`,
}

var longID = strings.Repeat("0123456789abcdef", 4)

func TestAnswers(t *testing.T) {
	_, _, addr := serve(t, testConfig(), shop)
	for _, c := range []struct {
		name   string
		qtype  uint16
		answer []string
		extra  []string
	}{
		{"web.shop.skydns.local.", dns.TypeSRV, []string{
			"web.shop.skydns.local. 3600 IN SRV 10 50 49153 i1.web.shop.skydns.local.",
			"web.shop.skydns.local. 3600 IN SRV 10 50 49154 i2.web.shop.skydns.local.",
		}, []string{
			"i1.web.shop.skydns.local. 3600 IN A 10.20.0.1",
			"i2.web.shop.skydns.local. 3600 IN A 10.20.0.2",
		}},
		{"i2.web.shop.skydns.local.", dns.TypeSRV, []string{
			"i2.web.shop.skydns.local. 3600 IN SRV 10 100 49154 i2.web.shop.skydns.local.",
		}, []string{"i2.web.shop.skydns.local. 3600 IN A 10.20.0.2"}},
		{"i2.web.shop.skydns.local.", dns.TypeA, []string{"i2.web.shop.skydns.local. 3600 IN A 10.20.0.2"}, nil},
		{"db.shop.skydns.local.", dns.TypeSRV, []string{
			"db.shop.skydns.local. 30 IN SRV 10 100 5432 db.shop.skydns.local.",
		}, []string{"db.shop.skydns.local. 30 IN A 10.30.0.1"}},
		{"shop.skydns.local.", dns.TypeSRV, []string{
			"shop.skydns.local. 30 IN SRV 10 33 49153 i1.web.shop.skydns.local.",
			"shop.skydns.local. 30 IN SRV 10 33 49154 i2.web.shop.skydns.local.",
			"shop.skydns.local. 30 IN SRV 10 33 5432 db.shop.skydns.local.",
		}, []string{
			"i1.web.shop.skydns.local. 3600 IN A 10.20.0.1",
			"i2.web.shop.skydns.local. 3600 IN A 10.20.0.2",
			"db.shop.skydns.local. 30 IN A 10.30.0.1",
		}},
		{"wEB.Shop.skydns.LOCAL.", dns.TypeA, []string{
			"wEB.Shop.skydns.LOCAL. 3600 IN A 10.20.0.1",
			"wEB.Shop.skydns.LOCAL. 3600 IN A 10.20.0.2",
		}, nil},
		{"al.skydns.local.", dns.TypeSRV, []string{
			"al.skydns.local. 3600 IN SRV 10 100 0 web.shop.skydns.local.",
		}, []string{
			"web.shop.skydns.local. 3600 IN A 10.20.0.1",
			"web.shop.skydns.local. 3600 IN A 10.20.0.2",
		}},
		{"ext.skydns.local.", dns.TypeSRV, []string{"ext.skydns.local. 3600 IN SRV 10 100 80 www.example.org."}, nil},
		{"mix.skydns.local.", dns.TypeA, []string{"mix.skydns.local. 3600 IN A 10.0.1.125"}, nil},
		{"mix.skydns.local.", dns.TypeAAAA, []string{"mix.skydns.local. 3600 IN AAAA 2001:db8::8:1"}, nil},
		{"mix.skydns.local.", dns.TypeSRV, []string{
			"mix.skydns.local. 3600 IN SRV 10 50 80 v4.mix.skydns.local.",
			"mix.skydns.local. 3600 IN SRV 10 50 80 v6.mix.skydns.local.",
		}, []string{
			"v4.mix.skydns.local. 3600 IN A 10.0.1.125",
			"v6.mix.skydns.local. 3600 IN AAAA 2001:db8::8:1",
		}},
		{"one.skydns.local.", dns.TypeA, []string{"one.skydns.local. 3600 IN A 10.1.0.5"}, nil},
		{"one.skydns.local.", dns.TypeSRV, []string{
			"one.skydns.local. 3600 IN SRV 10 50 1000 a.one.skydns.local.",
			"one.skydns.local. 3600 IN SRV 10 50 1001 b.one.skydns.local.",
		}, []string{"a.one.skydns.local. 3600 IN A 10.1.0.5", "b.one.skydns.local. 3600 IN A 10.1.0.5"}},
		{"same.skydns.local.", dns.TypeSRV, []string{
			"same.skydns.local. 3600 IN SRV 10 100 1000 a.same.skydns.local.",
		}, []string{"a.same.skydns.local. 3600 IN A 10.1.0.6"}},
		{"odd.skydns.local.", dns.TypeSRV, []string{
			"odd.skydns.local. 3600 IN SRV 10 100 1000 i1.odd.skydns.local.",
		}, []string{"i1.odd.skydns.local. 3600 IN A 10.1.0.7"}},
		{"id.skydns.local.", dns.TypeA, []string{"id.skydns.local. 3600 IN A 10.1.0.10"}, nil},
		{"ttl.skydns.local.", dns.TypeA, []string{"ttl.skydns.local. 7200 IN A 10.1.1.1"}, nil},
		{"levels.skydns.local.", dns.TypeA, []string{
			"levels.skydns.local. 50 IN A 10.1.2.1",
			"levels.skydns.local. 50 IN A 10.1.2.2",
			"levels.skydns.local. 50 IN A 10.1.2.3",
		}, nil},
		{"prio.skydns.local.", dns.TypeSRV, []string{
			"prio.skydns.local. 45 IN SRV 5 100 1 a.prio.skydns.local.",
			"prio.skydns.local. 45 IN SRV 10 34 1 b.prio.skydns.local.",
			"prio.skydns.local. 45 IN SRV 10 28 1 c.prio.skydns.local.",
			"prio.skydns.local. 45 IN SRV 10 37 1 d.prio.skydns.local.",
		}, []string{
			"a.prio.skydns.local. 45 IN A 10.1.3.1",
			"b.prio.skydns.local. 3600 IN A 10.1.3.2",
			"c.prio.skydns.local. 3600 IN A 10.1.3.3",
			"d.prio.skydns.local. 3600 IN A 10.1.3.4",
		}},
		{"capital.skydns.local.", dns.TypeSRV, []string{
			"capital.skydns.local. 3600 IN SRV 10 100 1 Instance.Capital.skydns.local.",
		}, []string{"Instance.Capital.skydns.local. 3600 IN A 10.1.4.1"}},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(network+"/"+c.name+dns.TypeToString[c.qtype], func(t *testing.T) {
				query := question(c.name, c.qtype)
				query.CheckingDisabled = true
				reply := exchange(t, network, addr, query)
				want(t, reply, dns.RcodeSuccess, c.answer, c.extra)
				if !reply.Authoritative || !reply.RecursionAvailable || !reply.RecursionDesired || !reply.CheckingDisabled || reply.Truncated {
					t.Errorf("flags: %s", reply.MsgHdr.String())
				}
				if reply.Question[0].Name != c.name {
					t.Errorf("question came back as %q", reply.Question[0].Name)
				}
			})
		}
	}
}

func TestNegativeAnswers(t *testing.T) {
	_, _, addr := serve(t, testConfig(), shop)
	for _, c := range []struct {
		name  string
		qtype uint16
		rcode int
	}{
		{"web.shop.skydns.local.", dns.TypeAAAA, dns.RcodeSuccess},
		{"web.shop.skydns.local.", dns.TypeTXT, dns.RcodeSuccess},
		{"web.shop.skydns.local.", dns.TypeHTTPS, dns.RcodeSuccess},
		{"web.shop.skydns.local.", 65280, dns.RcodeSuccess},
		{"ext.skydns.local.", dns.TypeAAAA, dns.RcodeSuccess},
		{"id.skydns.local.", dns.TypeSRV, dns.RcodeSuccess},
		{"note.odd.skydns.local.", dns.TypeA, dns.RcodeSuccess},
		{"skydns.local.", dns.TypeHINFO, dns.RcodeSuccess},
		{"api.shop.skydns.local.", dns.TypeSRV, dns.RcodeNameError},
		{"api.shop.skydns.local.", dns.TypeA, dns.RcodeNameError},
		{"api.shop.skydns.local.", dns.TypeSOA, dns.RcodeNameError},
		{"api.shop.skydns.local.", 65280, dns.RcodeNameError},
		{"x.db.shop.skydns.local.", dns.TypeA, dns.RcodeNameError},
		{"web.blog.skydns.local.", dns.TypeSRV, dns.RcodeNameError},
		{`shop/web.skydns.local.`, dns.TypeA, dns.RcodeNameError},
		{`web\.shop.skydns.local.`, dns.TypeA, dns.RcodeNameError},
		{strings.Repeat("aaaaaaaaa.", 23) + "skydns.local.", dns.TypeA, dns.RcodeNameError},
	} {
		t.Run(c.name+dns.Type(c.qtype).String(), func(t *testing.T) {
			reply := ask(t, addr, c.name, c.qtype)
			want(t, reply, c.rcode, nil, nil)
			soa := "skydns.local. 60 IN SOA ns.dns.skydns.local. hostmaster.skydns.local. "
			if got := text(reply.Ns); !strings.HasPrefix(got, soa) || !strings.HasSuffix(got, " 28800 7200 604800 60") {
				t.Errorf("authority %q", got)
			}
			if !reply.Authoritative || !reply.RecursionAvailable {
				t.Errorf("flags: %s", reply.MsgHdr.String())
			}
		})
	}
}

func TestApexHasSOA(t *testing.T) {
	_, _, addr := serve(t, testConfig(), nil)
	reply := ask(t, addr, "SkyDNS.local.", dns.TypeSOA)
	if got := text(reply.Answer); !strings.HasPrefix(got, "skydns.local. 3600 IN SOA ns.dns.skydns.local.") || reply.Rcode != dns.RcodeSuccess {
		t.Errorf("answer %q", got)
	}
	// The domain exists, even without a single record in it.
	reply = ask(t, addr, "skydns.local.", dns.TypeA)
	want(t, reply, dns.RcodeSuccess, nil, nil)
}

// Clients that take the first record leave the balancing to the order.
func TestOrderVariesFromReplyToReply(t *testing.T) {
	_, _, addr := serve(t, testConfig(), map[string]string{
		"web/a": `{"host":"10.0.0.1","port":1}`, "web/b": `{"host":"10.0.0.2","port":2}`, "web/c": `{"host":"10.0.0.3","port":3}`,
	})
	for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
		first := map[string]int{}
		for range 90 {
			first[ask(t, addr, "web.skydns.local.", qtype).Answer[0].String()]++
		}
		if len(first) != 3 {
			t.Errorf("%s: only these came first: %v", dns.TypeToString[qtype], first)
		}
		for rr, times := range first {
			if times < 10 {
				t.Errorf("%s came first only %d times of 90", rr, times)
			}
		}
	}
}
