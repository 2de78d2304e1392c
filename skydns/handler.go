package skydns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"
)

// minLabels is SkyDNS's ndots: what has fewer labels is nobody's name.
const minLabels = 2

// ServeDNS answers one query. It is called on a goroutine of its own.
func (s *Server) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	size := replySize(req, isTCP(w))
	reply := s.guardedReply(w, req, size)
	wire, err := pack(reply, size)
	if err != nil {
		s.log.Warn("reply cannot be sent", "question", questionOf(req), "err", err)
		reply = newReply(req, dns.RcodeServerFailure)
		if wire, err = reply.Pack(); err != nil {
			return // not even the question can be repeated: there is nothing to say
		}
	}
	s.metrics.request(req, reply.Rcode)
	if _, err := w.Write(wire); err != nil {
		s.log.Debug("client did not take the reply", "client", w.RemoteAddr(), "err", err)
	}
}

// guardedReply is reply; a query that makes it panic costs nobody else's answers.
func (s *Server) guardedReply(w dns.ResponseWriter, req *dns.Msg, size int) (reply *dns.Msg) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("query made the server panic", "question", questionOf(req), "err", r, "stack", string(debug.Stack()))
			reply = newReply(req, dns.RcodeServerFailure)
		}
	}()
	return s.reply(w, req, size)
}

func (s *Server) reply(w dns.ResponseWriter, req *dns.Msg, size int) *dns.Msg {
	if req.Opcode != dns.OpcodeQuery {
		return newReply(req, dns.RcodeNotImplemented)
	}
	if len(req.Question) != 1 {
		return newReply(req, dns.RcodeFormatError)
	}
	question := req.Question[0]
	switch question.Qtype {
	case dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB:
		return newReply(req, dns.RcodeRefused)
	}
	if !s.answerer.serves(question.Name) {
		return s.foreign(w, req)
	}
	if question.Qclass != dns.ClassINET && question.Qclass != dns.ClassANY {
		return newReply(req, dns.RcodeRefused)
	}
	records := s.records.Load()
	if records == nil {
		return newReply(req, dns.RcodeServerFailure) // unknown is not "no such name"
	}
	reply := newReply(req, dns.RcodeSuccess)
	s.answerer.answer(reply, records.zone, size, time.Now())
	return reply
}

// foreign answers a question about a name outside the domain.
func (s *Server) foreign(w dns.ResponseWriter, req *dns.Msg) *dns.Msg {
	question := req.Question[0]
	if !mayRecurse(w.RemoteAddr()) || question.Qclass != dns.ClassINET {
		return newReply(req, dns.RcodeRefused)
	}
	failed := newReply(req, dns.RcodeServerFailure)
	failed.RecursionAvailable = s.forwarder.HasNameservers()
	if dns.CountLabel(question.Name) < minLabels {
		return failed
	}
	start := time.Now()
	// The query in hand is answered even if the server is ending; forward has a deadline.
	reply, err := s.forwarder.Exchange(context.Background(), req)
	s.metrics.forward(time.Since(start), err)
	if err == nil && reply.Truncated && isTCP(w) {
		err = errors.New("reply is too large for UDP, and the nameserver does not talk TCP")
	}
	if err != nil {
		s.log.Debug("foreign name not found out", "question", questionOf(req), "err", err)
		return failed
	}
	return reply
}

// mayRecurse says whether the client may ask for foreign names: only neighbours may, since a
// nameserver that asks around for everybody is a weapon.
func mayRecurse(client net.Addr) bool {
	addrPort, err := netip.ParseAddrPort(client.String())
	if err != nil {
		return false
	}
	addr := addrPort.Addr().Unmap()
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}

func isTCP(w dns.ResponseWriter) bool {
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	return tcp
}

func questionOf(req *dns.Msg) string {
	if len(req.Question) == 0 {
		return "none"
	}
	return req.Question[0].Name + " " + dns.Type(req.Question[0].Qtype).String()
}
