package relay

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const waitFor = 10 * time.Second

// forms are all there are.
var forms = map[string]func(Settings) (Relay, error){
	"plain": func(s Settings) (Relay, error) { return NewPlain(s), nil },
	"fast":  New,
}

// eachForm runs the test with each form of the relay.
func eachForm(t *testing.T, test func(t *testing.T, form string)) {
	for form := range forms {
		t.Run(form, func(t *testing.T) { test(t, form) })
	}
}

// station is a relay with one listener, whose calls go to one backend.
type station struct {
	t       *testing.T
	addr    *net.TCPAddr   // to connect to
	backend netip.AddrPort // that calls go to
	choices []netip.AddrPort
	refuse  atomic.Bool // every connection
	slow    atomic.Bool // Choose never knows

	stop   func() // stops accepting, as often as one likes
	open   atomic.Int64
	ended  atomic.Int64
	up     atomic.Int64
	down   atomic.Int64
	failed atomic.Int64 // choices
	opened atomic.Int64 // likewise

	mu   sync.Mutex
	errs []error // of the calls that ended
}

// start runs a relay for the rest of the test, which fails if goroutines or descriptors are left.
// The choice, if there is one, is what calls try first.
func start(t *testing.T, form string, backend netip.AddrPort, idle time.Duration, choice ...netip.AddrPort) *station {
	t.Helper()
	checkLeaks(t)
	s := &station{t: t, backend: backend, choices: choice}
	relay, err := forms[form](Settings{Admit: s.admit, Log: slog.New(slog.DiscardHandler), Idle: idle})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().(*net.TCPAddr)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { relay.Run(ctx) })
	stop, err := relay.Accept(listener)
	if err != nil {
		t.Fatal(err)
	}
	s.stop = sync.OnceFunc(stop)
	t.Cleanup(func() {
		s.stop()
		cancel()
		group.Wait()
		if n := s.open.Load(); n != 0 {
			t.Errorf("%d calls did not end", n)
		}
	})
	return s
}

func (s *station) admit(netip.Addr, int) Call {
	if s.refuse.Load() {
		return nil
	}
	s.open.Add(1)
	return &call{s}
}

// call is a Call of a station.
type call struct{ *station }

func (c *call) Choose() (netip.AddrPort, bool) {
	if len(c.choices) > 0 {
		return c.choices[0], true
	}
	return c.backend, !c.slow.Load()
}

func (c *call) Failed(error) { c.failed.Add(1) }
func (c *call) Opened()      { c.opened.Add(1) }

func (c *call) Connect(ctx context.Context) (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: DialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", c.backend.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func (c *call) Carried(up, down int64) {
	c.up.Add(up)
	c.down.Add(down)
}

func (c *call) End(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
	c.ended.Add(1)
	c.open.Add(-1)
}

// dial connects to the relay.
func (s *station) dial() *net.TCPConn {
	s.t.Helper()
	return dialTo(s.t, s.addr)
}

func dialTo(t *testing.T, addr *net.TCPAddr) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * waitFor)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// wantEnded waits until so many calls ended, and returns what ended them.
func (s *station) wantEnded(n int64) []error {
	s.t.Helper()
	eventually(s.t, func() bool { return s.ended.Load() == n }, "calls do not end")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs
}

// serve listens on a free port and hands each connection to serve, which owns it.
func serve(t *testing.T, serve func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// echo is a backend that sends back what it gets until the end.
func echo(conn *net.TCPConn) {
	if _, err := io.Copy(conn, conn); err == nil {
		_ = conn.CloseWrite() // a client that left is the test's own
	}
}

func eventually(t *testing.T, check func() bool, complaint string) {
	t.Helper()
	for deadline := time.Now().Add(waitFor); !check(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(complaint)
		}
	}
}

// checkLeaks fails the test if more goroutines or descriptors are there at its end than now.
func checkLeaks(t *testing.T) {
	t.Helper()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	t.Cleanup(func() {
		deadline := time.Now().Add(waitFor)
		for runtime.NumGoroutine() > goroutines || len(openDescriptors(t)) > len(descriptors) {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("goroutines %d, before %d; descriptors %v, before %v:\n%s", runtime.NumGoroutine(), goroutines,
					openDescriptors(t), descriptors, stacks[:runtime.Stack(stacks, true)])
			}
			runtime.GC() // package net keeps pipes until then
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// openDescriptors are the sockets, pipes and files of this process, as Linux tells; none elsewhere.
func openDescriptors(t *testing.T) (open []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		// The runtime's own poller, and the directory that is read, are nobody's leak.
		if err == nil && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/proc/") {
			open = append(open, target)
		}
	}
	return open
}
