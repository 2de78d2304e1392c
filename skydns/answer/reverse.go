package answer

import "github.com/miekg/dns"

// isReverse says whether name, in lower case, is that of an address or of a network.
func isReverse(name string) bool {
	return dns.IsSubDomain("in-addr.arpa.", name) || dns.IsSubDomain("ip6.arpa.", name)
}

// pointer is the PTR record of the asked address, nil if the records have none.
func (s *search) pointer(name string) dns.RR {
	for _, r := range s.exactly(name) {
		if r.Target != "" {
			return s.made(&dns.PTR{Hdr: s.header(s.Name, dns.TypePTR, r), Ptr: r.Target}, r)
		}
	}
	return nil
}
