// Package udp serves DNS over UDP: packets are read and replies sent many at a time, and what can
// be answered at once is, without a goroutine of its own.
package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Handler answers queries.
type Handler interface {
	// Quick appends the reply to a packet from client to dst, which has room for MaxSize bytes, or
	// returns nothing to send none. It must not block, nor keep the packet. It returns false to
	// have the packet given to Patient.
	Quick(dst, packet []byte, client netip.AddrPort) (reply []byte, done bool)
	// Patient is Quick on a goroutine of its own: it may wait. It returns false to have the packet
	// unpacked and given to ServeDNS.
	Patient(dst, packet []byte, client netip.AddrPort) (reply []byte, done bool)
	// ServeDNS answers what is left, on a goroutine of its own, too.
	dns.Handler
	// Overloaded is told of a query that was dropped, as MaxSlow others were in hand.
	Overloaded()
}

const (
	// MaxSize is the size of the largest packet that is read, and of the largest quick reply.
	MaxSize = 4096
	// MaxSlow is how many queries may be in the hands of ServeDNS at a time.
	MaxSlow = 4096
	// drainTime is how long those may take when serving ends.
	drainTime = 5 * time.Second
)

// Server serves one socket.
type Server struct {
	Conn    *net.UDPConn
	Handler Handler
	Log     *slog.Logger

	slow     sync.WaitGroup
	slowOnes chan struct{} // one for each in hand
}

// Serve answers until ctx ends, and then waits for the queries in hand, within bounds. It returns nil
// only when ctx ended it. The socket stays open.
func (s *Server) Serve(ctx context.Context) error {
	s.slowOnes = make(chan struct{}, MaxSlow)
	b, err := newBatch(s.Conn)
	if err != nil {
		return fmt.Errorf("prepare UDP socket: %w", err)
	}
	// A deadline that has passed ends the wait for packets.
	defer context.AfterFunc(ctx, func() { _ = s.Conn.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		n, err := b.receive()
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			s.drain()
			return nil
		}
		if err != nil {
			return fmt.Errorf("read UDP packets: %w", err)
		}
		for i := range n {
			s.handle(b, i)
		}
		if err := b.send(); err != nil {
			return fmt.Errorf("send UDP packets: %w", err)
		}
	}
}

// drain waits for the queries in hand.
func (s *Server) drain() {
	done := make(chan struct{})
	go func() {
		s.slow.Wait()
		close(done)
	}()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// handle answers packet i of the batch, or has it answered. A packet that makes it panic costs
// nobody else's answers.
func (s *Server) handle(b *batch, i int) {
	defer s.survive(b.client(i))
	reply, done := s.Handler.Quick(b.room(), b.packet(i), b.client(i))
	if done {
		b.reply(i, reply)
		return
	}
	select {
	case s.slowOnes <- struct{}{}:
	default:
		s.Handler.Overloaded()
		return
	}
	w := &writer{conn: s.Conn, client: b.client(i), origin: append([]byte(nil), b.origin(i)...)}
	packet := append([]byte(nil), b.packet(i)...)
	s.slow.Go(func() {
		defer func() { <-s.slowOnes }()
		defer s.survive(w.client)
		serve(w, packet, s.Handler)
	})
}

// survive is deferred by what must not end the process if it panics.
func (s *Server) survive(client netip.AddrPort) {
	if r := recover(); r != nil {
		s.Log.Error("packet made the server panic", "client", client, "err", r, "stack", string(debug.Stack()))
	}
}
