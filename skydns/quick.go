package skydns

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/limit"
	"github.com/dokkaa/dokkaa/skydns/packed"
	"github.com/dokkaa/dokkaa/skydns/wire"
	"github.com/miekg/dns"
)

// quick is what plain questions about own names are answered with, without the library.
type quick struct {
	domain []byte // as names begin in packets
	absent [packed.Slots]atomic.Pointer[packed.Reply]
}

func (q *quick) init(domain string) error {
	q.domain = make([]byte, len(domain)+1)
	_, err := dns.PackDomainName(domain, q.domain, 0, nil, false)
	return err
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
	maxTTL, trusted := records.maxTTL(s.config.MaxStale)
	if !trusted || records.stubs != nil {
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
	return s.sendQuick(r.Append(dst, &q, maxTTL), packet, &q, auth, r.Rcode(), client, quickTime), true
}

// sendQuick counts a reply that is to be sent, and cuts or drops it where the client's network got
// too many of its kind.
func (s *Server) sendQuick(reply, packet []byte, q *packed.Query, by system, rcode int, client netip.AddrPort, took time.Duration) []byte {
	if s.limiter.Limits(client.Addr()) {
		verdict := s.limiter.Check(client.Addr(), kindOf(rcode), q.Name, time.Now())
		if verdict != limit.Send {
			s.metrics.limited[verdict].Inc()
		}
		switch verdict {
		case limit.Drop:
			return nil
		case limit.Truncate:
			reply = wire.Truncated(reply, packet)
		}
	}
	s.metrics.traffic.note(by, q.Type, rcode, reply, took)
	if s.sampler.take() {
		s.log.Info("query", "client", client, "question", wireQuestion(q), "rcode", rcodeLabel(rcode), "bytes", len(reply))
	}
	return reply
}

// wireQuestion is the question in words.
func wireQuestion(q *packed.Query) string {
	name, _, err := dns.UnpackDomainName(q.Name, 0)
	if err != nil {
		return err.Error()
	}
	return name + " " + dns.Type(q.Type).String()
}

// keep keeps the answer to a question for those who ask the same, before its TTLs are cut. The
// records are those that it was made of.
func (s *Server) keep(req, reply *dns.Msg, result answer.Result, records *records, now time.Time) {
	slot, ok := packed.Slot(req.Question[0].Qtype)
	if !ok || !result.Keep || req.Question[0].Qclass != dns.ClassINET || records == nil {
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
