// Package tcp serves DNS over TCP, and over TLS: several queries of a connection at a time, and
// within bounds that no client can stretch.
package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Limits bound what clients may take.
type Limits struct {
	Connections int           // in all
	PerClient   int           // of one address
	Queries     int           // of one connection over its life
	InFlight    int           // of one connection at a time
	Idle        time.Duration // without a query
	Patience    time.Duration // for the rest of a query, and for a client to take a reply
}

// DefaultLimits are the limits where nobody sets others.
func DefaultLimits() Limits {
	return Limits{Connections: 1024, PerClient: 128, Queries: 10000, InFlight: 32, Idle: 10 * time.Second, Patience: 4 * time.Second}
}

const (
	// drainTime is how long queries in hand may take when serving ends. It is more than any takes.
	drainTime = 5 * time.Second
	// lingerTime is how long connections are read from after another process has begun to accept.
	lingerTime = 2 * time.Second
	// acceptPause is how long accepting rests after it failed, as it does without descriptors.
	acceptPause = 50 * time.Millisecond
)

// Server serves one listening socket.
type Server struct {
	Listener net.Listener
	Handler  dns.Handler
	Log      *slog.Logger
	Limits   Limits
	// Relieved, if there is one, tells when serving ends whether another process accepts from now on:
	// clients then have a while to go over to it by themselves.
	Relieved func() bool

	started     time.Time
	mu          sync.Mutex
	connections map[*connection]struct{}
	perClient   map[netip.Prefix]int
	serving     sync.WaitGroup
}

// Serve answers until ctx ends, and then finishes the queries in hand, within bounds. It returns
// nil only when ctx ended it. It closes the listening socket.
func (s *Server) Serve(ctx context.Context) error {
	s.started = time.Now()
	s.connections, s.perClient = map[*connection]struct{}{}, map[netip.Prefix]int{}
	stop := context.AfterFunc(ctx, func() { _ = s.Listener.Close() })
	defer stop()
	defer s.drain()
	for {
		conn, err := s.Listener.Accept()
		switch {
		case err == nil:
			s.admit(conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept DNS connections: %w", err)
		default:
			s.Log.Warn("DNS connection not accepted", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
}

// admit serves a connection, in the place of the one that is idle for the longest time if there are
// too many.
func (s *Server) admit(conn net.Conn) {
	client := clientOf(conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perClient[client] >= s.Limits.PerClient || len(s.connections) >= s.Limits.Connections && !s.evict() {
		_ = conn.Close() // it was not promised anything
		return
	}
	c := newConnection(conn, s)
	s.connections[c] = struct{}{}
	s.perClient[client]++
	s.serving.Go(func() {
		c.serve()
		s.remove(c, client)
	})
}

// remove forgets a connection that ended.
func (s *Server) remove(c *connection, client netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, c)
	if s.perClient[client]--; s.perClient[client] == 0 {
		delete(s.perClient, client)
	}
}

// evict ends the connection without queries in hand that is idle for the longest time, and says
// whether there was one. The place is free at once. s.mu is held.
func (s *Server) evict() bool {
	var oldest *connection
	for c := range s.connections {
		if since, idle := c.idleSince(); idle {
			if oldest == nil {
				oldest = c
			} else if than, _ := oldest.idleSince(); since < than {
				oldest = c
			}
		}
	}
	if oldest == nil {
		return false
	}
	delete(s.connections, oldest)
	_ = oldest.conn.Close() // its goroutine notices
	return true
}

// drain has all connections read no more, and waits until their queries are answered.
func (s *Server) drain() {
	if s.Relieved != nil && s.Relieved() && s.endWithin(lingerTime) {
		return
	}
	s.mu.Lock()
	for c := range s.connections {
		c.finish()
	}
	s.mu.Unlock()
	timer := time.AfterFunc(drainTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.connections {
			_ = c.conn.Close() // time is up
		}
	})
	defer timer.Stop()
	s.serving.Wait()
}

// endWithin waits until all connections have ended, and tells whether they have in that time.
func (s *Server) endWithin(patience time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		s.serving.Wait() // as drain does, in the end
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-time.After(patience):
		return false
	}
}

// clientOf is what counts as one client: an IPv4 address, or the /64 that a host of IPv6 has.
func clientOf(conn net.Conn) netip.Prefix {
	addrPort, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	addr := addrPort.Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
