package relay

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// One wait can tell of what a caller says and of the refusal that the saying of it meets with. The second
// news is of a dial that was given up by then: nobody has accepted.
func TestARefusedDialIsNotOpenedByLateNews(t *testing.T) {
	s := &station{t: t, backend: serve(t, echo)}
	made, err := New(Settings{Admit: s.admit, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	relay := made.(*epoll)
	t.Cleanup(relay.close)
	ctx, cancel := context.WithCancel(context.Background())
	relay.ctx = ctx
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	caller := dialTo(t, listener.Addr().(*net.TCPAddr))
	accepted, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	client, err := takeOver(accepted)
	if err != nil {
		t.Fatal(err)
	}

	l := relay.loops[0]
	s.choices = append(s.choices, bound(t, false))
	f := l.add(client, s.admit(caller.LocalAddr().(*net.TCPAddr).AddrPort().Addr(), 1))
	f.begin()
	if _, err := caller.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	f.tell(&f.client, unix.EPOLLIN)
	if s.failed.Load() != 1 || !f.waiting {
		t.Fatalf("%d dials failed, waiting %v", s.failed.Load(), f.waiting)
	}
	f.tell(&f.backend, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP)
	if s.opened.Load() != 0 || f.open {
		t.Error("what was refused counts as opened")
	}

	cancel()
	relay.waits.Wait()
	l.stopping = true // or Connect was faster
	l.read()
	if n := s.ended.Load(); n != 1 {
		t.Errorf("%d calls ended", n)
	}
}
