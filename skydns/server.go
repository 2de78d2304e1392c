// Package skydns is a nameserver that answers from the SkyDNS records in etcd, and asks other
// nameservers for all other names.
package skydns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/dokkaa/dokkaa/internal/handover"
	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/cookie"
	"github.com/dokkaa/dokkaa/skydns/forward"
	"github.com/dokkaa/dokkaa/skydns/limit"
	"github.com/dokkaa/dokkaa/skydns/tcp"
	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Server is the nameserver. Queries are answered from memory: from the zone that was made of
// the source's last good snapshot.
type Server struct {
	config    Config
	source    Source
	log       *slog.Logger
	metrics   metrics
	limiter   *limit.Limiter
	cookies   *cookie.Secret
	sampler   sampler
	answerer  *answer.Answerer
	forwarder *forward.Forwarder
	stubs     *forward.Stubs
	listeners []*listener
	builder   *zone.Builder
	unlisted  *unlisted               // nil if the source cannot read such keys
	records   atomic.Pointer[records] // nil until the source was listed
	quick     quick
}

// New returns a server that does nothing until it is run.
func New(config Config, source Source, log *slog.Logger, registry prometheus.Registerer) (*Server, error) {
	s := &Server{
		config:  config,
		source:  source,
		log:     log,
		builder: zone.NewBuilder(config.PathPrefix),
		limiter: limit.New(config.Limit),
		cookies: cookie.New(),
	}
	s.sampler.every = uint64(config.LogEvery)
	options := forward.Options{
		Nameservers: config.Nameservers, Rotate: config.Rotate, Timeout: config.Timeout, IsSelf: s.isSelf, Cache: config.Cache,
	}
	s.forwarder, s.stubs = forward.New(options), forward.NewStubs(options)
	var outside answer.Resolver
	if s.forwarder.HasNameservers() {
		outside = s.forwarder
	}
	s.answerer = answer.New(config.Answer, outside)
	if l, ok := source.(lister); ok {
		s.unlisted = newUnlisted(l, config.PathPrefix)
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.register(registry); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if err := s.quick.init(config.Answer.Domain); err != nil {
		return nil, fmt.Errorf("pack domain %s: %w", config.Answer.Domain, err)
	}
	return s, nil
}

// listen fills in where the server listens.
func (s *Server) listen() error {
	if s.config.Sockets == nil {
		s.config.Sockets = handover.Alone()
	}
	add := func(l *listener) {
		l.handler, l.sockets, l.lookup, l.log = s, s.config.Sockets, interfaceAddr, s.log
		s.listeners = append(s.listeners, l)
	}
	for _, endpoint := range s.config.Listen {
		add(&listener{endpoint: endpoint})
	}
	for _, file := range s.config.Passed {
		add(&listener{passed: file})
	}
	if len(s.config.ListenTLS) == 0 {
		return nil
	}
	certificate, err := tcp.LoadCertificate(s.config.CertFile, s.config.KeyFile, s.log)
	if err != nil {
		return err
	}
	for _, endpoint := range s.config.ListenTLS {
		add(&listener{endpoint: endpoint, certificate: certificate})
	}
	return nil
}

// Run serves until ctx ends, and then answers what is in hand. An address that cannot be
// bound, or a store that cannot be read, ends nothing: both are tried again.
func (s *Server) Run(ctx context.Context) error {
	defer s.stubs.Close()
	defer s.forwarder.Close()
	s.log.Info("answering", "domain", s.config.Answer.Domain, "nameservers", s.config.Nameservers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.source.Run(ctx) })
	group.Go(func() error { s.follow(ctx); return nil })
	for _, l := range s.listeners {
		group.Go(func() error { l.run(ctx); return nil })
	}
	return group.Wait()
}

// Ready says why no answers are given: the records were never read, or no address is bound. A
// store that is lost later leaves the last records, and an address that is still missing the
// others.
func (s *Server) Ready() error {
	if err := s.hasRecords(); err != nil {
		return err
	}
	if len(s.Addrs()) > 0 {
		return nil
	}
	var reasons []error
	for _, l := range s.listeners {
		if _, err := l.state(); err != nil {
			reasons = append(reasons, err)
		}
	}
	return fmt.Errorf("no address is bound: %w", errors.Join(reasons...))
}

// hasRecords says why nothing could be answered at any address.
func (s *Server) hasRecords() error {
	if s.records.Load() != nil {
		return nil
	}
	if err := s.source.Snapshot().Err; err != nil {
		return fmt.Errorf("records were not read yet: %w", err)
	}
	return errors.New("records were not read yet")
}

// wants tells whether an endpoint is where another server had the socket.
func (s *Server) wants(name handover.Name) bool {
	return slices.ContainsFunc(s.listeners, func(l *listener) bool {
		if l.passed != nil || l.certificate != nil && name.Kind != handover.TCP {
			return false
		}
		addr, err := l.endpoint.resolve(l.lookup)
		return err == nil && handover.SamePlace(addr, name.Addr)
	})
}

// Addrs are the addresses that are bound now, each for UDP and TCP.
func (s *Server) Addrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, l := range s.listeners {
		if addr, _ := l.state(); addr.IsValid() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// isSelf says whether a question to addr would come back to this server.
func (s *Server) isSelf(addr netip.AddrPort) bool {
	for _, bound := range s.Addrs() {
		if bound.Port() != addr.Port() {
			continue
		}
		if bound.Addr().Unmap() == addr.Addr().Unmap() || bound.Addr().IsUnspecified() && isLocal(addr.Addr()) {
			return true
		}
	}
	return false
}

// isLocal says whether addr is one of this machine's.
func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == addr.Unmap() {
			return true
		}
	}
	return false
}
