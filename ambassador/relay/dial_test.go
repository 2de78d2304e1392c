package relay

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bound is an endpoint that refuses connections, or with a queue that takes none, does not answer.
func bound(t *testing.T, full bool) netip.AddrPort {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(socket) })
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(addr.(*unix.SockaddrInet4).Port))
	if !full {
		return endpoint
	}
	if err := unix.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	for range 3 { // until the queue is full
		dialer := net.Dialer{Timeout: 100 * time.Millisecond}
		if conn, err := dialer.Dial("tcp", endpoint.String()); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return endpoint
}

// What the caller said while a dial failed reaches the backend that takes its place.
func TestAFailedDialLosesNothing(t *testing.T) {
	for name, full := range map[string]bool{"refused": false, "no answer": true} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "fast", serve(t, echo), 0, bound(t, full))
			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
			begun := time.Now()
			conn := s.dial()
			var group sync.WaitGroup
			group.Go(func() {
				if _, err := conn.Write(sent); err != nil {
					t.Error(err)
				}
				if err := conn.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			got, err := io.ReadAll(conn)
			group.Wait()
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes of %d, %v", len(got), len(sent), err)
			}
			if n := s.failed.Load(); n != 1 {
				t.Errorf("%d dials failed", n)
			}
			if took := time.Since(begun); took > DialTimeout+time.Second || full && took < DialTimeout {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestWhoLeavesDuringTheDialIsForgotten(t *testing.T) {
	s := start(t, "fast", serve(t, echo), 0, bound(t, true))
	reset(s.dial())
	if errs := s.wantEnded(1); errs[0] == nil {
		t.Error("ended in good order")
	}
}
