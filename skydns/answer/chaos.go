package answer

import "github.com/miekg/dns"

// chaos answers a question of class CH, which is about the server itself.
func (s *search) chaos(name string) Result {
	texts := s.about(name)
	if texts == nil || s.Qtype != dns.TypeTXT {
		return Result{Rcode: dns.RcodeServerFailure}
	}
	result := Result{Authoritative: true}
	for _, text := range texts {
		header := dns.RR_Header{Name: s.Name, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}
		result.Answer = append(result.Answer, &dns.TXT{Hdr: header, Txt: split(text)})
	}
	return result
}

// about is what the server says of itself, which is not where it runs.
func (s *search) about(name string) []string {
	switch name {
	case "version.bind.", "version.server.":
		return []string{s.config.Version}
	case "hostname.bind.", "id.server.":
		return []string{"localhost"}
	case "authors.bind.", s.config.Domain:
		return []string{"The Dokkaa authors"}
	}
	return nil
}
