package answer

import (
	"time"

	"github.com/miekg/dns"
)

// soa is the domain's SOA record. Its serial is the hour, since no number of changes is kept.
func (s *search) soa(ttl uint32) dns.RR {
	return &dns.SOA{
		Hdr:     dns.RR_Header{Name: s.config.Domain, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:      "ns.dns." + s.config.Domain,
		Mbox:    s.config.Hostmaster,
		Serial:  uint32(s.Now.Truncate(time.Hour).Unix()),
		Refresh: 28800,
		Retry:   7200,
		Expire:  604800,
		Minttl:  s.config.MinTTL,
	}
}

// nameservers returns the domain's NS records and their addresses. A nameserver that has no address
// of its own makes all of them worthless: who follows it may end up here again.
func (s *search) nameservers() (answer, additional []dns.RR) {
	records, _ := s.find("ns.dns." + s.config.Domain)
	for _, r := range s.services(inGroup(records)) {
		if r.Target != "" {
			return nil, nil
		}
		if !r.Addr.IsValid() || r.Name == "" || len(answer) == s.most {
			continue
		}
		answer = append(answer, s.made(&dns.NS{Hdr: s.header(s.config.Domain, dns.TypeNS, r), Ns: r.Name}, r))
		additional = append(additional, s.address(r.Name, r))
	}
	return answer, additional
}
