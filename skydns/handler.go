package skydns

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/forward"
	"github.com/dokkaa/dokkaa/skydns/limit"
	"github.com/miekg/dns"
)

// answerTimeout is how long the names that an answer needs may be looked for at other nameservers.
// Clients wait five seconds as a rule.
const answerTimeout = 4 * time.Second

// ServeDNS answers one query. It is called on a goroutine of its own.
func (s *Server) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	x := newRequest(w, req)
	reply := s.guardedReply(x)
	if reply == nil {
		return
	}
	switch verdict := x.limit(s.limiter, reply.Rcode); verdict {
	case limit.Drop:
		s.metrics.limited[verdict].Inc()
		return
	case limit.Truncate:
		s.metrics.limited[verdict].Inc()
		reply = withoutRecords(req, reply)
	}
	x.addCookie(reply)
	wire, err := pack(reply, x.size)
	if err != nil {
		s.log.Warn("reply cannot be sent", "question", questionOf(req), "err", err)
		reply = newReply(req, dns.RcodeServerFailure)
		if wire, err = reply.Pack(); err != nil {
			return // not even the question can be repeated: there is nothing to say
		}
	}
	took := time.Since(x.start)
	s.metrics.traffic.note(x.by, x.qtype(), reply.Rcode, wire, took)
	if s.sampler.take() {
		s.log.Info("query", "client", x.client, "tcp", x.tcp, "question", questionOf(req), "rcode", rcodeLabel(reply.Rcode), "bytes", len(wire), "took", took)
	}
	if _, err := w.Write(wire); err != nil {
		s.log.Debug("client did not take the reply", "client", x.client, "err", err)
	}
}

// guardedReply is reply, nil if there is to be none; a query that makes it panic costs nobody else's answers.
func (s *Server) guardedReply(x *request) (reply *dns.Msg) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("query made the server panic", "question", questionOf(x.req), "err", r, "stack", string(debug.Stack()))
			reply = newReply(x.req, dns.RcodeServerFailure)
		}
	}()
	return s.reply(x)
}

// reply is the reply to the query, nil if it is to be dropped.
func (s *Server) reply(x *request) *dns.Msg {
	req := x.req
	if req.Opcode != dns.OpcodeQuery {
		return newReply(req, dns.RcodeNotImplemented)
	}
	if len(req.Question) != 1 {
		return newReply(req, dns.RcodeFormatError)
	}
	if rcode := x.readEDNS(s.cookies); rcode != 0 {
		return newReply(req, rcode)
	}
	question := req.Question[0]
	if isRefused(question.Qtype) {
		return newReply(req, dns.RcodeRefused)
	}
	now := x.start
	records := s.records.Load()
	if servers := s.stubs.Find(dns.CanonicalName(question.Name)); servers != nil {
		return s.stubbed(x, servers)
	}
	// The query in hand is answered even if the server is ending; this is the deadline.
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	result, ours := s.answer(ctx, records.zoneAt(now, s.config.MaxStale), answer.Query{
		Question: question, Size: max(x.size, maxUDPSize), Now: now, // what does not fit this client may fit others
	})
	if !ours {
		return s.foreign(x)
	}
	if dns.IsSubDomain("arpa.", dns.CanonicalName(question.Name)) {
		x.by = reverse
	}
	reply := newReply(req, result.Rcode)
	reply.Authoritative, reply.RecursionAvailable = result.Authoritative, true
	s.keep(req, reply, result, records, now)
	reply.Answer, reply.Ns = result.Answer, result.Authority
	reply.Extra = append(result.Additional, reply.Extra...)
	if records.stale(now) {
		capTTLs(reply, staleTTL)
	}
	return reply
}

// answer is the answerer's, with the names that the store does not list.
func (s *Server) answer(ctx context.Context, z answer.Zone, q answer.Query) (answer.Result, bool) {
	if z == nil || s.unlisted == nil {
		return s.answerer.Answer(ctx, z, q)
	}
	all := &overlay{Zone: z, ctx: ctx, unlisted: s.unlisted}
	result, ours := s.answerer.Answer(ctx, all, q)
	if all.err != nil {
		s.log.Debug("name that the store does not list was not read", "question", q.Name, "err", all.err)
		return answer.Result{Rcode: dns.RcodeServerFailure}, ours
	}
	return result, ours
}

// foreign answers a question about a name outside the domain.
func (s *Server) foreign(x *request) *dns.Msg {
	req := x.req
	x.by = recursive
	// A nameserver that asks around for everybody is a weapon.
	if !s.config.Recursion.Contain(x.client.Addr()) {
		return newReply(req, dns.RcodeRefused)
	}
	failed := newReply(req, dns.RcodeServerFailure)
	failed.RecursionAvailable = s.forwarder.HasNameservers()
	if dns.CountLabel(req.Question[0].Name) < s.config.Answer.MinLabels {
		return failed
	}
	reply, err := s.exchange(x, s.forwarder)
	if err != nil {
		s.log.Debug("foreign name not found out", "question", questionOf(req), "err", err)
		return failed
	}
	return reply
}

// exchange asks other nameservers for the reply. The query in hand is answered even if the server is
// ending; this has a deadline.
func (s *Server) exchange(x *request, servers *forward.Forwarder) (*dns.Msg, error) {
	start := time.Now()
	reply, err := servers.Exchange(context.Background(), x.req)
	s.metrics.forward(time.Since(start), err)
	if err == nil && reply.Truncated && x.tcp {
		return nil, errors.New("reply is too large for UDP, and the nameserver does not talk TCP")
	}
	return reply, err
}

// Overloaded counts a query that was dropped.
func (s *Server) Overloaded() {
	s.metrics.dropped.Inc()
	s.metrics.traffic.systems[auth].errors[causeOverflow].Add(1)
}

func questionOf(req *dns.Msg) string {
	if len(req.Question) == 0 {
		return "none"
	}
	return req.Question[0].Name + " " + dns.Type(req.Question[0].Qtype).String()
}
