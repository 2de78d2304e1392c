package skydns

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/packed"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// quick is what plain questions about own names are answered with, without the library.
type quick struct {
	domain   []byte // as names begin in packets
	absent   [packed.Slots]atomic.Pointer[packed.Reply]
	answered [packed.Slots][2]prometheus.Counter // by the code, NOERROR or NXDOMAIN
}

func (q *quick) init(domain string, m *metrics) error {
	q.domain = make([]byte, len(domain)+1)
	if _, err := dns.PackDomainName(domain, q.domain, 0, nil, false); err != nil {
		return err
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
		slot, _ := packed.Slot(qtype)
		for i, rcode := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
			q.answered[slot][i] = m.requests.WithLabelValues(dns.TypeToString[qtype], rcodeLabel(rcode))
		}
	}
	return nil
}

// Quick answers with a reply that is kept, if there is one: all that is not plain, or that depends
// on anything but the records, is for ServeDNS, which also makes the replies to keep.
func (s *Server) Quick(dst, packet []byte, client netip.AddrPort) (reply []byte, done bool) {
	q, plain := packed.Parse(packet)
	if !plain {
		return nil, false
	}
	records := s.records.Load()
	if !q.Under(s.quick.domain) {
		return s.quickForeign(dst, packet, &q, records, client)
	}
	slot, kept := packed.Slot(q.Type)
	if !kept {
		return nil, false
	}
	if records == nil || !records.known || records.stubs != nil {
		return nil, false
	}
	place := &s.quick.absent[slot]
	if node := records.zone.FindWire(q.Name); node != nil {
		place = node.Reply(slot)
	} else if len(q.Name) == len(s.quick.domain) || isSpecial(q.Name) {
		return nil, false
	}
	r := place.Load()
	if r == nil || !r.Good(time.Now) {
		return nil, false
	}
	counter := 0
	if r.Rcode() == dns.RcodeNameError {
		counter = 1
	}
	s.quick.answered[slot][counter].Inc()
	return r.Append(dst, &q), true
}

// quickForeign answers with what another nameserver said a while ago.
func (s *Server) quickForeign(dst, packet []byte, q *packed.Query, records *records, client netip.AddrPort) (reply []byte, done bool) {
	// The records may have a say in names of stub zones and of addresses.
	if records != nil && records.stubs != nil || q.Under(arpa) || !mayRecurse(client.Addr()) {
		return nil, false
	}
	reply, rcode, done := s.forwarder.Cached(dst, packet, time.Now())
	if done {
		s.metrics.requests.WithLabelValues(typeLabel(q.Type), rcodeLabel(rcode)).Inc()
	}
	return reply, done
}

// arpa is where the names of addresses are.
var arpa = []byte("\x04arpa\x00")

// keep keeps the answer to a question for those who ask the same. The records are those that it was
// made of.
func (s *Server) keep(req, reply *dns.Msg, result answer.Result, records *records, now time.Time) {
	slot, ok := packed.Slot(req.Question[0].Qtype)
	if !ok || !result.Keep || req.Question[0].Qclass != dns.ClassINET || !records.known {
		return
	}
	place := &s.quick.absent[slot]
	if node := records.zone.Find(req.Question[0].Name); node != nil {
		place = node.Reply(slot)
	} else if result.Rcode != dns.RcodeNameError {
		return
	}
	if r := place.Load(); r != nil && r.Good(func() time.Time { return now }) {
		return
	}
	if result.Rcode != dns.RcodeSuccess && result.Rcode != dns.RcodeNameError {
		return
	}
	var until time.Time
	if len(result.Authority) > 0 {
		until = now.Truncate(time.Hour).Add(time.Hour) // the SOA's serial
	}
	kept := &dns.Msg{
		MsgHdr: reply.MsgHdr, Question: req.Question,
		Answer: result.Answer, Ns: result.Authority, Extra: result.Additional,
	}
	if r, simple := packed.New(kept, s.config.Answer.Shuffle, until); simple {
		place.Store(r)
	}
}

// isSpecial says whether a name may mean something though no record stands there: for a label that
// is a wildcard or that the store does not list, or as the name of the host's own services.
func isSpecial(name []byte) bool {
	local := []byte("\x05local\x03dns")
	if len(name) > len(local) && equalFold(name[:len(local)], local) {
		return true
	}
	for len(name) > 1 {
		label := name[1 : 1+name[0]]
		if label[0] == '_' || label[0] == '*' || equalFold(label, []byte("any")) {
			return true
		}
		name = name[1+len(label):]
	}
	return false
}

// equalFold says whether name is lower, which is in lower case, but for its case.
func equalFold(name, lower []byte) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
