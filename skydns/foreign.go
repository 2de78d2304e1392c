package skydns

import (
	"context"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/skydns/packed"
	"github.com/dokkaa/dokkaa/skydns/wire"
	"github.com/miekg/dns"
)

// arpa is where the names of addresses are.
var arpa = []byte("\x04arpa\x00")

// isForeign says whether a plain question outside of the domain is none but other nameservers' to
// answer, and the client may ask it. The records may have a say in names of stub zones and of addresses.
func (s *Server) isForeign(q *packed.Query, records *records, client netip.AddrPort) bool {
	return !q.Under(arpa) && (records == nil || records.stubs == nil) && s.config.Recursion.Contain(client.Addr())
}

// quickForeign answers with what another nameserver said a while ago.
func (s *Server) quickForeign(dst, packet []byte, q *packed.Query, records *records, client netip.AddrPort) (reply []byte, done bool) {
	if !s.isForeign(q, records, client) {
		return nil, false
	}
	reply, rcode, done := s.forwarder.Cached(dst, packet, time.Now())
	if done {
		reply = s.sendQuick(reply, packet, q, recursive, rcode, client, quickTime)
	}
	return reply, done
}

// Patient has other nameservers answer a plain question, without the library. All else is for
// ServeDNS.
func (s *Server) Patient(dst, packet []byte, client netip.AddrPort) (reply []byte, done bool) {
	q, plain := packed.Parse(packet)
	if !plain || q.Under(s.quick.domain) || !s.isForeign(&q, s.records.Load(), client) ||
		isRefused(q.Type) || labels(q.Name) < s.config.Answer.MinLabels {
		return nil, false
	}
	start := time.Now()
	// The query in hand is answered even if the server is ending; this has a deadline.
	reply, err := s.forwarder.Forward(context.Background(), dst, packet, min(q.Size, maxUDPSize))
	took := time.Since(start)
	s.metrics.forward(took, err)
	if err != nil {
		s.log.Debug("foreign name not found out", "question", wireQuestion(&q), "err", err)
		if reply = s.failure(packet); reply == nil {
			return nil, true
		}
	}
	return s.sendQuick(reply, packet, &q, recursive, int(reply[3]&0x0f), client, took), true
}

// failure is the SERVFAIL for a query.
func (s *Server) failure(packet []byte) []byte {
	query, _ := wire.Query(packet)
	if query == nil {
		return nil
	}
	failed := newReply(query, dns.RcodeServerFailure)
	failed.RecursionAvailable = s.forwarder.HasNameservers()
	reply, err := failed.Pack()
	if err != nil {
		return nil // not even the question can be repeated: there is nothing to say
	}
	return reply
}

// isRefused says whether questions of a type are refused, whoever asks: for everything at once.
func isRefused(qtype uint16) bool {
	switch qtype {
	case dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB:
		return true
	}
	return false
}

// labels is how many labels a name on the wire has.
func labels(name []byte) int {
	n := 0
	for at := 0; at < len(name) && name[at] != 0; at += int(name[at]) + 1 {
		n++
	}
	return n
}
