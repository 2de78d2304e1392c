package udp

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// BenchmarkExchange sends a datagram to a backend and back: directly, and through the server from one
// flow and from many in turn.
func BenchmarkExchange(b *testing.B) {
	for _, flows := range []int{0, 1, 1000} {
		name := fmt.Sprint(flows, " flows")
		if flows == 0 {
			name = "direct"
		}
		b.Run(name, func(b *testing.B) {
			s := start(b, func(s *Settings) { s.Max, s.MaxPerSource = 1000, 1000 })
			backend := s.echo()
			if flows == 0 {
				s.to = backend.LocalAddr().(*net.UDPAddr)
			}
			callers := make([]*net.UDPConn, max(flows, 1))
			sent, received := make([]byte, 100), make([]byte, 100)
			for i := range callers {
				callers[i] = s.caller()
				if _, err := ask(callers[i], sent, waitFor); err != nil {
					b.Fatal(err)
				}
				if err := callers[i].SetDeadline(time.Now().Add(time.Hour)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				conn := callers[i%len(callers)]
				if _, err := conn.Write(sent); err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Read(received); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNewFlow does so from another port each time, as resolvers do.
func BenchmarkNewFlow(b *testing.B) {
	s := start(b, nil)
	s.echo()
	for b.Loop() {
		conn := s.caller()
		if _, err := ask(conn, []byte("x"), waitFor); err != nil {
			b.Fatal(err)
		}
		conn.Close()
	}
}
