// Package answer turns a question into the answer that the records give: what SkyDNS 2 would say,
// where that is sound. It reads memory only, but for names outside the domain, which records may
// point at: those it asks a Resolver for.
package answer

import (
	"context"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

// Config is what answers depend on besides the records.
type Config struct {
	Domain     string // lower-case, with the final dot, as all names here
	Hostmaster string // the SOA's mailbox, as a name
	Local      string // what local.dns.<domain> stands for; empty: that is a name like any other
	Version    string // the answer to version.bind
	TTL        uint32 // of records without one
	MinTTL     uint32 // of negative answers
	OutsideTTL uint32 // of records that come from other nameservers
	Priority   uint16 // of services without one
	MinLabels  int    // names outside the domain with fewer are nobody's
	Shuffle    bool   // services and addresses stand in another order each time
}

// Zone is the records.
type Zone interface {
	// Find returns the node of a name, nil if there is no such name.
	Find(name string) *zone.Node
}

// Resolver looks up names outside the domain. The reply is shared: it must not be changed.
type Resolver interface {
	Resolve(ctx context.Context, name string, qtype uint16) (*dns.Msg, error)
}

// Answerer answers questions about the domain, the reverse zones and the server itself. It is for
// concurrent use.
type Answerer struct {
	config  Config
	outside Resolver
}

// New returns an Answerer. Without a Resolver, names outside the domain stay unresolved.
func New(config Config, outside Resolver) *Answerer {
	return &Answerer{config: config, outside: outside}
}

// Query is a question and what its answer may take.
type Query struct {
	dns.Question
	Size int // bytes that the reply may have
	Now  time.Time
	// Trace, if there is one, is told the record that a resource record was made from.
	Trace func(dns.RR, *zone.Record)
}

// Result is an answer.
type Result struct {
	Rcode                         int
	Answer, Authority, Additional []dns.RR
	Authoritative                 bool
	// Keep says that this answer is good as long as nothing changes at the asked name and below
	// it, and for an SOA until the hour is over: it does not depend on other names or other
	// servers, nor do its TTLs count down. If Shuffle is set, each reply is to have the services
	// and addresses in an order of its own.
	Keep bool
}

// Serves says whether name is the domain or below it.
func (a *Answerer) Serves(name string) bool { return dns.IsSubDomain(a.config.Domain, name) }

// Answer answers q from z, which is nil while the records are unknown. It returns false where
// others are to be asked.
func (a *Answerer) Answer(ctx context.Context, z Zone, q Query) (Result, bool) {
	name := dns.CanonicalName(q.Name)
	s := &search{
		Answerer: a, ctx: ctx, zone: z, Query: q,
		most: q.Size/minRecordSize + 1, lookups: maxLookups, keep: true,
	}
	soa := q.Qtype == dns.TypeSOA && name == a.config.Domain
	switch {
	case q.Qclass == dns.ClassCHAOS && !soa:
		return s.chaos(name), true
	case q.Qtype == dns.TypePTR && isReverse(name) && z != nil:
		if rr := s.pointer(name); rr != nil {
			return Result{Answer: []dns.RR{rr}, Keep: s.keep}, true
		}
	}
	switch {
	case !a.Serves(name):
		return Result{}, false
	case soa:
		return Result{Answer: []dns.RR{s.soa(a.config.TTL)}, Authoritative: true, Keep: true}, true
	case z == nil:
		return Result{Rcode: dns.RcodeServerFailure}, true // unknown is not "no such name"
	}
	return s.own(name), true
}

// own answers a question about a name of the domain.
func (s *search) own(name string) Result {
	if s.config.Local != "" && name == "local.dns."+s.config.Domain {
		name, s.keep = s.config.Local, false
	}
	apex := name == s.config.Domain
	records, exists := s.find(name)
	if len(records) > 0 && !slices.ContainsFunc(records, isReadable) {
		return Result{Rcode: dns.RcodeServerFailure, Keep: s.keep}
	}
	var answer, additional []dns.RR
	switch s.Qtype {
	case dns.TypeA:
		answer = s.addresses(s.Name, s.services(inGroup(records)), v4, nil)
	case dns.TypeAAAA:
		answer = s.addresses(s.Name, s.services(inGroup(records)), v6, nil)
	case dns.TypeSRV:
		answer, additional = s.targets(s.services(inGroup(records)), s.srv)
	case dns.TypeMX: // a group does not keep its mail to itself
		answer, additional = s.targets(s.services(mail(records)), s.mx)
	case dns.TypeTXT:
		answer = s.texts(s.services(inGroup(records)))
	case dns.TypeCNAME:
		answer = s.alias(name)
	case dns.TypeNS:
		if apex {
			answer, additional = s.nameservers()
		}
	}
	if len(answer) == 0 && s.partial {
		return Result{Rcode: dns.RcodeServerFailure} // what was not looked at may be the answer
	}
	if len(answer) == 0 {
		result := Result{Authority: []dns.RR{s.soa(s.config.MinTTL)}, Authoritative: true, Keep: s.keep}
		if !exists && !apex {
			result.Rcode = dns.RcodeNameError
		}
		return result
	}
	answer, additional = distinct(answer), distinct(additional)
	s.levelTTLs(answer)
	return Result{Answer: answer, Additional: additional, Authoritative: true, Keep: s.keep}
}

// levelTTLs gives all records the smallest of their TTLs, as resolvers expect of a set, and no
// more than the default; a single record keeps its own.
func (a *Answerer) levelTTLs(answer []dns.RR) {
	if len(answer) < 2 {
		return
	}
	ttl := a.config.TTL
	for _, rr := range answer {
		ttl = min(ttl, rr.Header().Ttl)
	}
	for _, rr := range answer {
		rr.Header().Ttl = ttl
	}
}
