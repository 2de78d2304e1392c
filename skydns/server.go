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
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/skydns/forward"
	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Config is what a Server is told; Settings say what the fields mean.
type Config struct {
	Domain          string // lower-case, with the final dot
	PathPrefix      string // no slash at its ends
	Listen          []Endpoint
	Nameservers     []netip.AddrPort // none: never ask others
	Timeout         time.Duration    // of one question to a nameserver
	Cache           forward.CacheOptions
	DefaultTTL      uint32
	MinTTL          uint32
	DefaultPriority uint16
}

// Server is the nameserver. Queries are answered from memory: from the zone that was made of
// the source's last good snapshot.
type Server struct {
	config    Config
	source    Source
	log       *slog.Logger
	metrics   *metrics
	answerer  answerer
	forwarder *forward.Forwarder
	listeners []*listener
	builder   *zone.Builder
	records   atomic.Pointer[records] // nil until the source was listed
}

// New returns a server that does nothing until it is run.
func New(config Config, source Source, log *slog.Logger, registry prometheus.Registerer) (*Server, error) {
	s := &Server{
		config: config,
		source: source,
		log:    log,
		answerer: answerer{
			domain: config.Domain, defaultTTL: config.DefaultTTL,
			minTTL: config.MinTTL, defaultPriority: config.DefaultPriority,
		},
		builder: zone.NewBuilder(config.PathPrefix),
	}
	s.forwarder = forward.New(forward.Options{
		Nameservers: config.Nameservers, Rotate: true, Timeout: config.Timeout, IsSelf: s.isSelf, Cache: config.Cache,
	})
	for _, endpoint := range config.Listen {
		s.listeners = append(s.listeners, &listener{endpoint: endpoint, handler: s, lookup: interfaceAddr, log: log})
	}
	var err error
	s.metrics, err = newMetrics(registry, s.countRecords, s.snapshotAge)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return s, nil
}

// Run serves until ctx ends, and then answers what is in hand. An address that cannot be
// bound, or a store that cannot be read, ends nothing: both are tried again.
func (s *Server) Run(ctx context.Context) error {
	defer s.forwarder.Close()
	s.log.Info("answering", "domain", s.config.Domain, "nameservers", s.config.Nameservers)
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
	if s.records.Load() == nil {
		if err := s.source.Snapshot().Err; err != nil {
			return fmt.Errorf("records were not read yet: %w", err)
		}
		return errors.New("records were not read yet")
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
