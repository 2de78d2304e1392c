package answer_test

import (
	"fmt"
	"testing"

	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/miekg/dns"
)

// What the first question about a name costs; the next ones are answered with what was packed.
func BenchmarkAnswer(b *testing.B) {
	values := map[string]string{}
	for i := range 100_000 {
		values[fmt.Sprintf("app%d/web/i%d", i/3, i%3)] = fmt.Sprintf(`{"host":"10.%d.%d.%d","port":%d}`, i>>16, i>>8&255, i&255, 10000+i%3)
	}
	z := zoneOf(values)
	c := config()
	c.Shuffle = true
	a := answer.New(c, nil)
	for _, question := range []struct {
		title, name string
		qtype       uint16
	}{
		{"A", "web.app7.skydns.local.", dns.TypeA}, {"SRV", "web.app7.skydns.local.", dns.TypeSRV},
		{"NXDOMAIN", "nope.app7.skydns.local.", dns.TypeA}, {"Everything/A", "skydns.local.", dns.TypeA},
		{"Everything/AAAA", "skydns.local.", dns.TypeAAAA}, {"Everything/SRV", "skydns.local.", dns.TypeSRV},
		{"Everything/wildcard", "web.*.skydns.local.", dns.TypeA},
	} {
		b.Run(question.title, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.Answer(b.Context(), z, answer.Query{
					Question: dns.Question{Name: question.name, Qtype: question.qtype, Qclass: dns.ClassINET}, Size: 4096, Now: now,
				})
			}
		})
	}
}
