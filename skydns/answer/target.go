package answer

import (
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

// targets returns a record for each service that has a name to point at, made by record from the
// service, that name, and its share of the load; and the addresses of those names.
func (s *search) targets(services []*zone.Record, record func(r *zone.Record, target string, share uint16) dns.RR) (answer, additional []dns.RR) {
	named := services[:0]
	for _, r := range services {
		if target(r) != "" {
			named = append(named, r)
		}
	}
	percents := shares(named, s.priority)
	looked := map[string]struct{}{}
	for i, r := range s.cut(named) {
		name := target(r)
		answer = append(answer, s.made(record(r, name, percents[i]), r))
		if r.Target == "" {
			additional = append(additional, s.address(name, r))
			continue
		}
		key := strings.ToLower(name)
		if _, done := looked[key]; !done {
			looked[key] = struct{}{}
			additional = append(additional, s.targetAddresses(name)...)
		}
	}
	return answer, additional
}

// targetAddresses returns the addresses of a name that a service gives for itself, with the CNAMEs
// that lead to them.
func (s *search) targetAddresses(name string) []dns.RR {
	if !s.Serves(name) {
		found, _ := s.outsideAddresses(name, v4|v6)
		return found
	}
	records, _ := s.other(strings.ToLower(name))
	return s.addresses(name, s.services(inGroup(records)), v4|v6, nil)
}

// target is the name to point at: that of the service itself, or for one with an address that of
// its key, without the labels to strip. It is empty if there is none.
func target(r *zone.Record) string {
	name := r.Target
	if r.Addr.IsValid() {
		name = r.Name
	}
	for range r.TargetStrip {
		next, end := dns.NextLabel(name, 0)
		if end {
			break // the last label stays
		}
		name = name[next:]
	}
	return name
}

func (s *search) srv(r *zone.Record, target string, share uint16) dns.RR {
	return &dns.SRV{
		Hdr: s.header(s.Name, dns.TypeSRV, r), Priority: s.priority(r), Weight: share, Port: uint16(r.Port), Target: target,
	}
}

func (s *search) mx(r *zone.Record, target string, _ uint16) dns.RR {
	return &dns.MX{Hdr: s.header(s.Name, dns.TypeMX, r), Preference: s.priority(r), Mx: target}
}

// mail returns the services that take mail. It changes services.
func mail(services []*zone.Record) []*zone.Record {
	return slices.DeleteFunc(services, func(r *zone.Record) bool { return !r.Mail })
}

func (a *Answerer) priority(r *zone.Record) uint16 {
	if r.Priority == 0 {
		return a.config.Priority
	}
	return uint16(r.Priority)
}
