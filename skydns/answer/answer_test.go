package answer_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func config() answer.Config {
	return answer.Config{
		Domain: "skydns.local.", Hostmaster: "hostmaster.skydns.local.", Version: "test",
		TTL: 3600, MinTTL: 60, OutsideTTL: 60, Priority: 10, MinLabels: 2,
	}
}

// zoneOf is a zone of keys below /skydns/local/skydns/, or of whole keys.
func zoneOf(values map[string]string) *zone.Zone {
	entries := func(yield func(zone.Entry) bool) {
		for key, value := range values {
			if !strings.HasPrefix(key, "/") {
				key = "/skydns/local/skydns/" + key
			}
			var ttl time.Duration
			if strings.Contains(key, "leased") {
				ttl = 7 * time.Second
			}
			if !yield(zone.Entry{Key: key, Value: value, TTL: ttl, Modified: 1}) {
				return
			}
		}
	}
	z, _ := zone.NewBuilder("skydns").Build(&zone.Zone{}, iter.Seq[zone.Entry](entries), now)
	return z
}

// others is a Resolver that knows some names, and counts who asks.
type others struct {
	records map[string]string // by name and type
	asked   int
}

func (o *others) Resolve(_ context.Context, name string, qtype uint16) (*dns.Msg, error) {
	o.asked++
	text, known := o.records[name+" "+dns.TypeToString[qtype]]
	if !known {
		return nil, errors.New("nobody answers")
	}
	reply := &dns.Msg{}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "NXDOMAIN" {
			reply.Rcode = dns.RcodeNameError
		} else if rr, err := dns.NewRR(line); err == nil && rr != nil {
			reply.Answer = append(reply.Answer, rr)
		}
	}
	return reply, nil
}

func ask(a *answer.Answerer, z answer.Zone, name string, qtype uint16) (answer.Result, bool) {
	return a.Answer(context.Background(), z, answer.Query{
		Question: dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}, Size: dns.MaxMsgSize, Now: now,
	})
}

func text(records []dns.RR) []string {
	var lines []string
	for _, rr := range records {
		lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
	}
	return lines
}

func TestOnlyWhatTheNameAndItsRecordsSayIsKept(t *testing.T) {
	z := zoneOf(map[string]string{
		"web/i1": `{"host":"10.0.0.1","port":80,"text":"t","mail":true}`, "web/i2": `{"host":"10.0.0.2","port":80}`,
		"leased/i1": `{"host":"10.0.0.3"}`, "al": `{"host":"web.skydns.local"}`, "ext": `{"host":"www.ext.example"}`,
		"dns/ns/a": `{"host":"10.0.0.4"}`,
	})
	c := config()
	c.Local = "web.skydns.local."
	a := answer.New(c, &others{})
	for question, want := range map[string]bool{
		"web.skydns.local. SRV": true, "web.skydns.local. A": true, "web.skydns.local. AAAA": true, "web.skydns.local. TXT": true,
		"web.skydns.local. MX": true, "nope.skydns.local. A": true, "skydns.local. SOA": true, "skydns.local. NS": true, "al.skydns.local. CNAME": true,
		"al.skydns.local. A": false, "al.skydns.local. SRV": false, "ext.skydns.local. A": false, "leased.skydns.local. A": false,
		"*.skydns.local. A": false, "x.any.skydns.local. A": false, "local.dns.skydns.local. A": false, "_x.web.skydns.local. A": false,
	} {
		name, qtype, _ := strings.Cut(question, " ")
		if result, ours := ask(a, z, name, dns.StringToType[qtype]); !ours || result.Keep != want {
			t.Errorf("%s: keep is %t, want %t (%+v)", question, result.Keep, want, result)
		}
	}
}

func TestCNAMEsThatLeadOutside(t *testing.T) {
	z := zoneOf(map[string]string{
		"ext": `{"host":"www.ext.example"}`, "gone": `{"host":"gone.ext.example"}`, "dead": `{"host":"dead.ext.example"}`,
		"empty": `{"host":"empty.ext.example"}`, "short": `{"host":"server1"}`, "two/1": `{"host":"dead.ext.example"}`,
		"two/2": `{"host":"www.ext.example"}`, "/skydns/example/ext/here": `{"host":"10.0.0.9"}`, "shadow": `{"host":"here.ext.example"}`,
	})
	outside := &others{records: map[string]string{
		"www.ext.example. A":    "www.ext.example. 300 IN CNAME a.ext.example.\na.ext.example. 300 IN A 192.0.2.54\na.ext.example. 300 IN RRSIG A 8 3 300 20300101000000 20200101000000 1 ext.example. AAAA",
		"www.ext.example. AAAA": "www.ext.example. 300 IN CNAME a.ext.example.\na.ext.example. 300 IN AAAA 2001:db8::54",
		"gone.ext.example. A":   "NXDOMAIN", "empty.ext.example. A": "",
	}}
	chain := func(owner string) []string {
		return []string{owner + " 60 IN CNAME www.ext.example.", "www.ext.example. 60 IN CNAME a.ext.example.", "a.ext.example. 60 IN A 192.0.2.54"}
	}
	a := answer.New(config(), outside)
	for name, want := range map[string][]string{
		"ext.skydns.local.":    chain("ext.skydns.local."),
		"two.skydns.local.":    chain("two.skydns.local."),
		"gone.skydns.local.":   nil,
		"dead.skydns.local.":   nil,
		"short.skydns.local.":  nil,
		"empty.skydns.local.":  {"empty.skydns.local. 3600 IN CNAME empty.ext.example."},
		"shadow.skydns.local.": {"shadow.skydns.local. 3600 IN CNAME here.ext.example.", "here.ext.example. 3600 IN A 10.0.0.9"},
	} {
		result, _ := ask(a, z, name, dns.TypeA)
		if got := text(result.Answer); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if want == nil && (result.Rcode != dns.RcodeSuccess || len(result.Authority) != 1) {
			t.Errorf("%s: %+v, want NODATA", name, result)
		}
	}
	result, _ := ask(a, z, "ext.skydns.local.", dns.TypeSRV)
	if got := text(result.Additional); len(got) != 3 {
		t.Errorf("additional records: %q", got)
	}
	never := answer.New(config(), nil)
	if result, _ := ask(never, z, "ext.skydns.local.", dns.TypeA); len(result.Answer) != 0 {
		t.Errorf("without a resolver: %q", text(result.Answer))
	}
}

// Every name points at every other, so that the ways through them are without number.
func TestManyCNAMEsEnd(t *testing.T) {
	values := map[string]string{}
	for i := range 12 {
		for j := range 12 {
			values[fmt.Sprintf("d%d/%d", i, j)] = fmt.Sprintf(`{"host":"d%d.skydns.local"}`, j)
		}
	}
	start := time.Now()
	result, _ := ask(answer.New(config(), nil), zoneOf(values), "d0.skydns.local.", dns.TypeA)
	if len(result.Answer) != 0 || time.Since(start) > time.Second {
		t.Errorf("%q after %s", text(result.Answer), time.Since(start))
	}
}

func TestUnknownRecordsAreNoDenial(t *testing.T) {
	a := answer.New(config(), nil)
	for question, want := range map[string]int{
		"web.skydns.local. A": dns.RcodeServerFailure, "skydns.local. NS": dns.RcodeServerFailure, "skydns.local. SOA": dns.RcodeSuccess,
	} {
		name, qtype, _ := strings.Cut(question, " ")
		if result, ours := ask(a, nil, name, dns.StringToType[qtype]); !ours || result.Rcode != want || result.Rcode != 0 && result.Keep {
			t.Errorf("%s: %+v, want %s", question, result, dns.RcodeToString[want])
		}
	}
	for _, name := range []string{"www.ext.example.", "notskydns.local.", "1.0.0.10.in-addr.arpa."} {
		if _, ours := ask(a, nil, name, dns.TypePTR); ours {
			t.Errorf("%s is held for ours", name)
		}
	}
}

func TestWildcards(t *testing.T) {
	z := zoneOf(map[string]string{
		"east/production/rails/1": `{"host":"10.0.0.1"}`, "west/production/rails/2": `{"host":"10.0.0.2"}`,
		"east/staging/rails/4": `{"host":"10.0.0.4"}`, "leaf": `{"host":"10.0.0.5"}`, "a b/x/y": `{"host":"10.0.0.6"}`,
	})
	a := answer.New(config(), nil)
	for name, want := range map[string]string{
		"production.*.skydns.local.": "10.0.0.1 10.0.0.2", "rails.*.east.skydns.local.": "10.0.0.1 10.0.0.4",
		"ANY.east.skydns.local.": "10.0.0.1 10.0.0.4", "*.*.*.west.skydns.local.": "10.0.0.2", "*.leaf.skydns.local.": "10.0.0.5",
		"x.y.*.west.skydns.local.": "NOERROR", "*.north.skydns.local.": "NXDOMAIN", `x.a\032b.*.skydns.local.`: "NOERROR",
		`*.a\032b.skydns.local.`: "10.0.0.6", "many.skydns.local.": "NXDOMAIN",
	} {
		result, _ := ask(a, z, name, dns.TypeA)
		var got []string
		for _, rr := range result.Answer {
			got = append(got, rr.(*dns.A).A.String())
		}
		if slices.Sort(got); len(got) == 0 {
			got = []string{dns.RcodeToString[result.Rcode]}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", name, got, want)
		}
	}
}

func TestTraceNamesTheKeys(t *testing.T) {
	z := zoneOf(map[string]string{"web/I1": `{"host":"10.0.0.1"}`})
	var keys []string
	answer.New(config(), nil).Answer(t.Context(), z, answer.Query{
		Question: dns.Question{Name: "web.skydns.local.", Qtype: dns.TypeSRV, Qclass: dns.ClassINET}, Size: 512, Now: now,
		Trace: func(rr dns.RR, r *zone.Record) { keys = append(keys, dns.TypeToString[rr.Header().Rrtype]+" "+r.Key) },
	})
	if want := []string{"SRV /skydns/local/skydns/web/I1", "A /skydns/local/skydns/web/I1"}; !slices.Equal(keys, want) {
		t.Errorf("traced %q, want %q", keys, want)
	}
}

// Nobody may take the server's time with a question about everything.
func TestOfVeryManyRecordsSomeAreLookedAt(t *testing.T) {
	values := map[string]string{}
	for i := range 20_000 {
		values[fmt.Sprintf("a%d/x", i)] = fmt.Sprintf(`{"host":"10.%d.%d.%d"}`, i>>16, i>>8&255, i&255)
	}
	z := zoneOf(values)
	a := answer.New(config(), nil)
	for question, want := range map[string]int{
		"skydns.local. A": dns.RcodeSuccess, "x.*.skydns.local. A": dns.RcodeSuccess, "skydns.local. AAAA": dns.RcodeServerFailure,
		"y.*.skydns.local. A": dns.RcodeSuccess, "a7.skydns.local. AAAA": dns.RcodeSuccess,
	} {
		name, qtype, _ := strings.Cut(question, " ")
		result, _ := ask(a, z, name, dns.StringToType[qtype])
		if result.Rcode != want || len(result.Answer) > 5000 {
			t.Errorf("%s: %s with %d records", question, dns.RcodeToString[result.Rcode], len(result.Answer))
		}
		if few := strings.HasPrefix(name, "a7"); result.Keep != few {
			t.Errorf("%s: keep is %t", question, result.Keep)
		}
	}
}
