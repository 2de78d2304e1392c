package relay

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Whoever stops a listener need not know whether the relay still runs.
func TestAListenerIsStoppedAfterTheEnd(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		checkLeaks(t)
		s := &station{t: t, backend: serve(t, echo)}
		relay, err := forms[form](Settings{Admit: s.admit, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		addr := listener.Addr().(*net.TCPAddr)
		ctx, cancel := context.WithCancel(context.Background())
		var group sync.WaitGroup
		group.Go(func() { relay.Run(ctx) })
		stop, err := relay.Accept(listener)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		group.Wait()

		stopped := make(chan struct{})
		go func() {
			stop()
			close(stopped)
		}()
		select {
		case <-stopped:
		case <-time.After(waitFor):
			t.Fatal("stop does not return")
		}
		if conn, err := net.DialTCP("tcp", nil, addr); err == nil {
			conn.Close()
			t.Error("the listener is open")
		}
	})
}

// patient is a call whose Connect ends when it is let.
type patient struct {
	call
	began, held chan struct{}
}

func (p *patient) Choose() (netip.AddrPort, bool) { return netip.AddrPort{}, false }

func (p *patient) Connect(ctx context.Context) (*net.TCPConn, error) {
	close(p.began)
	<-p.held
	return nil, ctx.Err()
}

// A connection that still waits keeps the relay from its end, but it takes no others meanwhile.
func TestARelayThatEndsAcceptsNothing(t *testing.T) {
	checkLeaks(t)
	s := &station{t: t, backend: serve(t, echo)}
	first := &patient{call{s}, make(chan struct{}), make(chan struct{})}
	admitted := 0
	relay, err := New(Settings{Log: slog.New(slog.DiscardHandler), Admit: func(source netip.Addr, port int) Call {
		s.mu.Lock()
		defer s.mu.Unlock()
		if admitted++; admitted == 1 {
			return first
		}
		return s.admit(source, port)
	}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().(*net.TCPAddr)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		relay.Run(ctx)
		close(ended)
	}()
	stop, err := relay.Accept(listener)
	if err != nil {
		t.Fatal(err)
	}
	dialTo(t, addr)
	<-first.began
	cancel()
	for _, l := range relay.(*epoll).loops {
		eventually(t, func() bool {
			stopping := make(chan bool, 1)
			return !l.post(func() { stopping <- l.stopping }) || <-stopping
		}, "a loop goes on")
	}
	dialTo(t, addr)
	stop()
	close(first.held)
	select {
	case <-ended:
	case <-time.After(waitFor):
		t.Fatal("the relay does not end")
	}
	if n := s.ended.Load(); n != 1 {
		t.Errorf("%d calls ended", n)
	}
}
