package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const waitFor = 10 * time.Second

// station is a server between the test and a backend.
type station struct {
	t      testing.TB
	server *Server
	to     *net.UDPAddr // the door
	stop   func()       // of the door
	run    func()       // ends Run
	target atomic.Value // netip.AddrPort that calls go to
	trust  atomic.Int32 // in the callers
	moved  atomic.Bool  // endpoints are not current
	slow   atomic.Bool  // Find waits for the gate
	gate   chan struct{}
	fails  atomic.Bool // Find finds nothing

	open, ended, failed, found atomic.Int64
	up, down                   atomic.Int64

	mu   sync.Mutex
	errs []error // that ended calls
}

func start(t testing.TB, change func(*Settings)) *station {
	t.Helper()
	before, files := runtime.NumGoroutine(), descriptors()
	s := &station{t: t, gate: make(chan struct{})}
	s.trust.Store(int32(Trusted))
	settings := Settings{Call: s.call, Log: slog.New(slog.DiscardHandler), Idle: time.Minute, Max: 100, MaxPerSource: 50}
	if change != nil {
		change(&settings)
	}
	s.server = New(settings)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { s.server.Run(ctx) })
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.to = conn.LocalAddr().(*net.UDPAddr)
	s.stop = s.server.Serve(conn)
	s.run = sync.OnceFunc(func() {
		cancel()
		group.Wait()
	})
	t.Cleanup(func() {
		s.run()
		if n := s.open.Load(); n != 0 {
			t.Errorf("%d calls did not end", n)
		}
		s.eventually(func() error {
			if now := runtime.NumGoroutine(); now > before {
				return fmt.Errorf("%d goroutines, %d before", now, before)
			}
			if now := descriptors(); now > files {
				return fmt.Errorf("%d descriptors, %d before", now, files)
			}
			return nil
		})
	})
	return s
}

// descriptors is how many are open, 0 where that is not known.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

func (s *station) eventually(check func() error) {
	s.t.Helper()
	deadline := time.Now().Add(waitFor)
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *station) call(netip.AddrPort, int) Call {
	s.open.Add(1)
	return &call{station: s}
}

// call is a Call of a station. It finds out who uses it in ways that it must not be used.
type call struct {
	*station
	busy  atomic.Int32
	known atomic.Bool
	over  bool
}

func (c *call) alone() func() {
	if c.busy.Add(1) > 1 || c.over {
		c.t.Error("two methods of a call at a time, or one after its end")
	}
	return func() { c.busy.Add(-1) }
}

func (c *call) Trust() Trust {
	if !c.known.Load() {
		return Doubted
	}
	return Trust(c.trust.Load())
}

func (c *call) Current() bool {
	defer c.alone()()
	return !c.moved.Load()
}

func (c *call) Choose() (netip.AddrPort, bool) {
	defer c.alone()()
	return c.target.Load().(netip.AddrPort), !c.moved.Load()
}

func (c *call) Find(ctx context.Context) (netip.AddrPort, error) {
	defer c.alone()()
	c.found.Add(1)
	if c.slow.Load() {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return netip.AddrPort{}, ctx.Err()
		}
	}
	if c.fails.Load() {
		return netip.AddrPort{}, errors.New("nothing found")
	}
	c.known.Store(true)
	return c.target.Load().(netip.AddrPort), nil
}

func (c *call) Failed(error) {
	defer c.alone()()
	c.failed.Add(1)
}

func (c *call) Carried(up, down int64) {
	defer c.alone()()
	c.station.up.Add(up)
	c.station.down.Add(down)
}

func (c *call) End(err error) {
	defer c.alone()()
	c.over = true
	c.mu.Lock()
	c.errs = append(c.errs, err)
	c.mu.Unlock()
	c.ended.Add(1)
	c.open.Add(-1)
}

// failure is what ended the first call.
func (s *station) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) == 0 {
		return nil
	}
	return s.errs[0]
}

// echo is a backend that sends everything back, and calls go to it.
func (s *station) echo() *net.UDPConn {
	s.t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		s.t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		buffer := make([]byte, maxDatagram)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buffer[:n], from)
		}
	})
	s.t.Cleanup(func() {
		conn.Close()
		group.Wait()
	})
	s.target.Store(conn.LocalAddr().(*net.UDPAddr).AddrPort())
	return conn
}

// caller is a socket to the door.
func (s *station) caller() *net.UDPConn {
	s.t.Helper()
	conn, err := net.DialUDP("udp", nil, s.to)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends a datagram, and returns what comes back.
func ask(conn *net.UDPConn, b []byte, patience time.Duration) ([]byte, error) {
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	buffer := make([]byte, maxDatagram)
	n, err := conn.Read(buffer)
	return buffer[:n], err
}

func (s *station) wantEcho(conn *net.UDPConn, text string) {
	s.t.Helper()
	if got, err := ask(conn, []byte(text), waitFor); err != nil || string(got) != text {
		s.t.Fatalf("sent %q, got %q, %v", text, got, err)
	}
}
