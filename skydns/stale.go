package skydns

import (
	"time"

	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/packed"
	"github.com/miekg/dns"
)

const (
	// staleGrace is how long the store may be away before answers say so by their TTLs: a member
	// that restarts, or another one that takes over, is no outage.
	staleGrace = 2 * time.Second
	// staleTTL is the most that a stale answer may be cached: the truth may be back any moment.
	staleTTL = 5
)

// zoneAt is the zone to answer from: nil if it was never known, or is too old to be trusted.
func (r *records) zoneAt(now time.Time, maxStale time.Duration) answer.Zone {
	if r == nil || !r.known && now.Sub(r.seen) > maxStale {
		return nil
	}
	return r.zone
}

// stale says whether the store may hold something else by now.
func (r *records) stale(now time.Time) bool {
	return r != nil && !r.known && now.Sub(r.seen) > staleGrace
}

// maxTTL is the most that an answer may be cached; false if there is none. It asks for the time only
// while the store is away.
func (r *records) maxTTL(maxStale time.Duration) (ttl uint32, trusted bool) {
	if r == nil || r.known {
		return packed.AnyTTL, r != nil
	}
	now := time.Now()
	if ttl = packed.AnyTTL; r.stale(now) {
		ttl = staleTTL
	}
	return ttl, r.zoneAt(now, maxStale) != nil
}

func capTTLs(reply *dns.Msg, ttl uint32) {
	for _, section := range [][]dns.RR{reply.Answer, reply.Ns, reply.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT { // which keeps its flags there
				h.Ttl = min(h.Ttl, ttl)
			}
		}
	}
}
