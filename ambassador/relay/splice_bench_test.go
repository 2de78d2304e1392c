package relay

import (
	"io"
	"net"
	"testing"
)

// BenchmarkSplice carries bytes from a client through the plain relay to a backend.
func BenchmarkSplice(b *testing.B) {
	client, outer := tcpPair(b)
	inner, backend := tcpPair(b)
	spliced, received := make(chan error, 1), make(chan error, 1)
	go func() { spliced <- splice(outer, inner, 0, func(int64, int64) {}) }()
	go func() {
		_, err := io.Copy(io.Discard, backend)
		backend.Close()
		received <- err
	}()
	block := make([]byte, 64<<10)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := client.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := client.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	for _, done := range []chan error{received, spliced} { // all of it arrived
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// tcpPair is the two ends of a connection.
func tcpPair(b *testing.B) (dialed, accepted *net.TCPConn) {
	b.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	if dialed, err = net.DialTCP("tcp", nil, listener.Addr().(*net.TCPAddr)); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { dialed.Close() })
	if accepted, err = listener.AcceptTCP(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { accepted.Close() })
	return dialed, accepted
}
