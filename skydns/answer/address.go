package answer

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

// maxAliases is how many CNAMEs may follow one another.
const maxAliases = 8

// families are the kinds of addresses that are looked for.
type families uint8

const (
	v4 families = 1 << iota
	v6
)

func (f families) has(addr netip.Addr) bool {
	return f&v4 != 0 && addr.Is4() || f&v6 != 0 && addr.Is6()
}

// types are the families' record types.
func (f families) types() []uint16 {
	var types []uint16
	if f&v4 != 0 {
		types = append(types, dns.TypeA)
	}
	if f&v6 != 0 {
		types = append(types, dns.TypeAAAA)
	}
	return types
}

// addresses returns the addresses of owner, whose services these are. If services are known by
// names, one of those that have addresses is followed: a name has one CNAME only. It comes first,
// as clients expect. chain is the names that led here, in lower case.
func (s *search) addresses(owner string, services []*zone.Record, want families, chain []string) []dns.RR {
	var aliased, own []dns.RR
	for _, r := range services {
		switch {
		case r.Target != "" && aliased == nil:
			aliased = s.follow(owner, r, want, chain)
		case !want.has(r.Addr):
		case len(own) == s.most:
			s.keep = false
		default:
			own = append(own, s.address(owner, r))
		}
	}
	if aliased == nil {
		return own
	}
	return append(aliased, own...)
}

// address is the A or AAAA record of a service that has an address.
func (s *search) address(owner string, r *zone.Record) dns.RR {
	if r.Addr.Is4() {
		return s.made(&dns.A{Hdr: s.header(owner, dns.TypeA, r), A: r.Addr.AsSlice()}, r)
	}
	return s.made(&dns.AAAA{Hdr: s.header(owner, dns.TypeAAAA, r), AAAA: r.Addr.AsSlice()}, r)
}

// follow returns the CNAME of a service that is known by a name, and the addresses of that; nil if
// it has none, or leads back to where the search was.
func (s *search) follow(owner string, r *zone.Record, want families, chain []string) []dns.RR {
	s.keep = false
	target := strings.ToLower(r.Target)
	if strings.EqualFold(owner, target) || len(chain) == maxAliases || slices.Contains(chain, target) {
		return nil
	}
	cname := func() dns.RR {
		return s.made(&dns.CNAME{Hdr: s.header(owner, dns.TypeCNAME, r), Target: r.Target}, r)
	}
	records, exists := s.other(target)
	if exists || s.Serves(target) {
		found := s.addresses(r.Target, s.services(inGroup(records)), want, append(slices.Clip(chain), target))
		if len(found) == 0 {
			return nil
		}
		return append([]dns.RR{cname()}, found...)
	}
	found, exists := s.outsideAddresses(target, want)
	if !exists {
		return nil
	}
	return append([]dns.RR{cname()}, found...)
}

// other is find for a name that another one points at.
func (s *search) other(name string) (records []*zone.Record, ok bool) {
	s.keep = false
	if s.lookups == 0 {
		return nil, false
	}
	s.lookups--
	return s.find(name)
}

// outsideAddresses asks other nameservers for the addresses of a name outside the domain; ok is
// false where they do not know it, or are not asked.
func (s *search) outsideAddresses(name string, want families) (found []dns.RR, ok bool) {
	s.keep = false
	if s.outside == nil || dns.CountLabel(name) < s.config.MinLabels {
		return nil, false
	}
	for _, qtype := range want.types() {
		if s.lookups == 0 || s.ctx.Err() != nil {
			break
		}
		s.lookups--
		reply, err := s.outside.Resolve(s.ctx, name, qtype)
		if err != nil || reply.Rcode != dns.RcodeSuccess {
			continue // what cannot be found is left out
		}
		for _, rr := range reply.Answer {
			// The first reply brought the CNAMEs.
			if t := rr.Header().Rrtype; t != qtype && (t != dns.TypeCNAME || ok) {
				continue
			}
			rr = dns.Copy(rr)
			rr.Header().Ttl = s.config.OutsideTTL
			found = append(found, rr)
		}
		ok = true
	}
	return found, ok
}

// alias is the CNAME of name, none if its first service is known by an address, or if services are
// only below it.
func (s *search) alias(name string) []dns.RR {
	services := s.exactly(name)
	if len(services) == 0 || services[0].Target == "" {
		return nil
	}
	r := services[0]
	return []dns.RR{s.made(&dns.CNAME{Hdr: s.header(s.Name, dns.TypeCNAME, r), Target: r.Target}, r)}
}

// exactly returns the records of name itself.
func (s *search) exactly(name string) []*zone.Record {
	if node := s.zone.Find(name); node != nil {
		return node.Records()
	}
	return nil
}
