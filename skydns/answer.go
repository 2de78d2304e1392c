package skydns

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

// answerer turns a question about a name of the domain into a reply. It reads memory only.
type answerer struct {
	domain          string // lower-case, with the final dot
	defaultTTL      uint32
	minTTL          uint32
	defaultPriority uint16
}

// minRecordSize is the least that a record takes in a reply: the owner as a pointer, type,
// class, TTL, length, and the address of an A record.
const minRecordSize = 16

// serves says whether name is the domain or below it.
func (a *answerer) serves(name string) bool { return dns.IsSubDomain(a.domain, name) }

// answer fills reply, which is to be of size bytes at most, with what z says to its question.
func (a *answerer) answer(reply *dns.Msg, z *zone.Zone, size int, now time.Time) {
	reply.Authoritative = true
	reply.RecursionAvailable = true
	question := reply.Question[0]
	records, exists := z.Lookup(question.Name)
	apex := dns.CanonicalName(question.Name) == a.domain

	most := size/minRecordSize + 1
	switch question.Qtype {
	case dns.TypeA, dns.TypeAAAA:
		reply.Answer = a.addresses(question.Name, question.Qtype, unique(records), most, now)
	case dns.TypeSRV:
		var additional []dns.RR
		reply.Answer, additional = a.services(z, question.Name, unique(records), most, now)
		reply.Extra = append(additional, reply.Extra...)
	case dns.TypeSOA:
		if apex {
			reply.Answer = []dns.RR{a.soa(a.defaultTTL, now)}
		}
	}
	if len(reply.Answer) > 0 {
		a.levelTTLs(reply.Answer)
		return
	}
	if !exists && !apex {
		reply.Rcode = dns.RcodeNameError
	}
	reply.Ns = []dns.RR{a.soa(a.minTTL, now)}
}

// unique returns the services of records, in random order: those that can be reached, without
// the repeated ones. The order is the load balancing of clients that take the first.
func unique(records []zone.Record) []*zone.Record {
	type identity struct {
		host, text             string
		port, priority, weight int
	}
	seen := make(map[identity]struct{}, len(records))
	services := make([]*zone.Record, 0, len(records))
	for i := range records {
		r := &records[i]
		id := identity{r.Host, r.Text, r.Port, r.Priority, r.Weight}
		if _, repeated := seen[id]; repeated || r.Host == "" {
			continue
		}
		seen[id] = struct{}{}
		services = append(services, r)
	}
	rand.Shuffle(len(services), func(i, j int) { services[i], services[j] = services[j], services[i] })
	return services
}

// addresses returns at most the given number of the services' addresses of one family, owned
// by name.
func (a *answerer) addresses(name string, family uint16, services []*zone.Record, most int, now time.Time) []dns.RR {
	var answer []dns.RR
	seen := make(map[netip.Addr]struct{}, len(services))
	for _, s := range services {
		if len(answer) == most {
			break
		}
		if _, repeated := seen[s.Addr]; repeated || !hasFamily(s.Addr, family) {
			continue
		}
		seen[s.Addr] = struct{}{}
		answer = append(answer, a.address(name, s, now))
	}
	return answer
}

func hasFamily(addr netip.Addr, family uint16) bool {
	return family == dns.TypeA && addr.Is4() || family == dns.TypeAAAA && addr.Is6()
}

// address is the A or AAAA record of a service that has an address.
func (a *answerer) address(owner string, s *zone.Record, now time.Time) dns.RR {
	header := dns.RR_Header{Name: owner, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: s.SecondsLeft(now, a.defaultTTL)}
	if s.Addr.Is4() {
		return &dns.A{Hdr: header, A: s.Addr.AsSlice()}
	}
	header.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: header, AAAA: s.Addr.AsSlice()}
}

// services returns at most the given number of SRV records owned by name, and the addresses of
// their targets as far as z has them.
func (a *answerer) services(z *zone.Zone, name string, services []*zone.Record, most int, now time.Time) (answer, additional []dns.RR) {
	targetable := services[:0]
	for _, s := range services {
		if s.Target != "" || s.Name != "" {
			targetable = append(targetable, s)
		}
	}
	percents := shares(targetable, a.priority)
	looked := map[string]struct{}{}
	for i, s := range targetable[:min(most, len(targetable))] {
		target := s.Target
		if target == "" {
			target = s.Name
		}
		answer = append(answer, &dns.SRV{
			Hdr:      dns.RR_Header{Name: name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: s.SecondsLeft(now, a.defaultTTL)},
			Priority: a.priority(s), Weight: percents[i], Port: uint16(s.Port), Target: target,
		})
		if s.Target == "" {
			additional = append(additional, a.address(target, s, now))
			continue
		}
		if _, repeated := looked[target]; repeated || !a.serves(target) {
			continue
		}
		looked[target] = struct{}{}
		records, _ := z.Lookup(target)
		found := unique(records)
		additional = append(additional, a.addresses(target, dns.TypeA, found, most, now)...)
		additional = append(additional, a.addresses(target, dns.TypeAAAA, found, most, now)...)
	}
	return answer, additional
}

func (a *answerer) priority(s *zone.Record) uint16 {
	if s.Priority == 0 {
		return a.defaultPriority
	}
	return uint16(s.Priority)
}

// levelTTLs gives all records the smallest of their TTLs, as resolvers expect of a set, and no
// more than the default; a single record keeps its own.
func (a *answerer) levelTTLs(answer []dns.RR) {
	if len(answer) < 2 {
		return
	}
	ttl := a.defaultTTL
	for _, rr := range answer {
		ttl = min(ttl, rr.Header().Ttl)
	}
	for _, rr := range answer {
		rr.Header().Ttl = ttl
	}
}

// soa is the domain's SOA record.
func (a *answerer) soa(ttl uint32, now time.Time) dns.RR {
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: a.domain, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:      "ns.dns." + a.domain,
		Mbox:    "hostmaster." + a.domain,
		Serial:  uint32(now.Truncate(time.Hour).Unix()),
		Refresh: 28800,
		Retry:   7200,
		Expire:  604800,
		Minttl:  a.minTTL,
	}
}
