package skydns

import (
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

func TestHowLongRecordsOutliveTheStore(t *testing.T) {
	lost := time.Now()
	const maxStale = time.Hour
	r := &records{zone: &zone.Zone{}, seen: lost}
	for _, c := range []struct {
		after         time.Duration
		known         bool
		stale, served bool
	}{
		{time.Minute, true, false, true},
		{2 * time.Hour, true, false, true},
		{time.Second, false, false, true},
		{time.Minute, false, true, true},
		{maxStale + time.Second, false, true, false},
	} {
		r.known = c.known
		now := lost.Add(c.after)
		if got := r.zoneAt(now, maxStale) != nil; got != c.served {
			t.Errorf("%s after, known %t: served is %t", c.after, c.known, got)
		}
		if got := r.stale(now); got != c.stale {
			t.Errorf("%s after, known %t: stale is %t", c.after, c.known, got)
		}
	}
	var never *records
	if never.zoneAt(lost, maxStale) != nil || never.stale(lost) {
		t.Error("records that were never known are served")
	}
}

func TestStaleAnswersAreShortLived(t *testing.T) {
	reply := new(dns.Msg).SetEdns0(1232, true)
	for _, ttl := range []uint32{3600, 3} {
		reply.Answer = append(reply.Answer, &dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA, Ttl: ttl}})
	}
	capTTLs(reply, staleTTL)
	if a, b := reply.Answer[0].Header().Ttl, reply.Answer[1].Header().Ttl; a != 5 || b != 3 {
		t.Errorf("TTLs %d and %d", a, b)
	}
	if !reply.IsEdns0().Do() {
		t.Error("OPT lost its flags")
	}
}
