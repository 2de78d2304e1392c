package answer

import (
	"strings"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

// maxString is how long one string of a TXT record may be.
const maxString = 255

// texts returns a TXT record for each service that has a text.
func (s *search) texts(services []*zone.Record) []dns.RR {
	var answer []dns.RR
	for _, r := range services {
		if r.Text == "" {
			continue
		}
		if len(answer) == s.most {
			s.keep = false
			break
		}
		answer = append(answer, s.made(&dns.TXT{Hdr: s.header(s.Name, dns.TypeTXT, r), Txt: split(r.Text)}, r))
	}
	return answer
}

// presentation is how miekg/dns wants a text: it takes a backslash for the begin of an escape.
var presentation = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// split cuts a text into strings, of which none is empty.
func split(text string) []string {
	var parts []string
	for len(text) > maxString {
		parts = append(parts, presentation.Replace(text[:maxString]))
		text = text[maxString:]
	}
	return append(parts, presentation.Replace(text))
}
