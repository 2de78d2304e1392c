package udp

import (
	"bytes"
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

func TestDatagramsOfAllSizes(t *testing.T) {
	s := start(t, nil)
	s.echo()
	conn := s.caller()
	for _, size := range []int{1, 0, 512, 1472, 1473, 9000, 65507} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if got, err := ask(conn, sent, waitFor); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("sent %d bytes, got %d, %v", size, len(got), err)
		}
	}
	s.run()
	if up, down := s.up.Load(), s.down.Load(); up != down || up != 1+512+1472+1473+9000+65507 {
		t.Errorf("%d bytes up, %d down", up, down)
	}
}

func TestAFlowForEachPort(t *testing.T) {
	s := start(t, nil)
	s.echo()
	var callers []*net.UDPConn
	for i := range 20 {
		callers = append(callers, s.caller())
		s.wantEcho(callers[i], fmt.Sprint("first of ", i))
	}
	for i, conn := range callers {
		s.wantEcho(conn, fmt.Sprint("second of ", i))
	}
	if n := s.open.Load(); n != 20 {
		t.Errorf("%d flows", n)
	}
}

func TestWhatComesMeanwhileIsHeld(t *testing.T) {
	s := start(t, nil)
	s.slow.Store(true)
	s.echo()
	conn := s.caller()
	for i := range maxHeld + 10 {
		if _, err := conn.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually(func() error {
		if s.found.Load() == 0 {
			return errors.New("nothing is looked for")
		}
		return nil
	})
	time.Sleep(300 * time.Millisecond) // for the rest to arrive
	close(s.gate)
	if err := conn.SetReadDeadline(time.Now().Add(waitFor)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 10)
	for i := range maxHeld {
		if _, err := conn.Read(buffer); err != nil || buffer[0] != byte(i) {
			t.Fatalf("datagram %d is %d, %v", i, buffer[0], err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(buffer); err == nil {
		t.Error("more than that was held")
	}
	if n := s.found.Load(); n != 1 {
		t.Errorf("looked %d times", n)
	}
}

func TestWhoMayNotSendIsForgotten(t *testing.T) {
	s := start(t, nil)
	s.fails.Store(true)
	s.echo()
	conn := s.caller()
	if got, err := ask(conn, []byte("x"), 100*time.Millisecond); err == nil {
		t.Errorf("got %q", got)
	}
	s.eventually(func() error {
		if n := s.open.Load(); n != 0 {
			return fmt.Errorf("%d flows", n)
		}
		return nil
	})
	s.fails.Store(false)
	s.wantEcho(conn, "y")
}

func TestAFlowEndsWithItsCaller(t *testing.T) {
	for name, after := range map[string]func(*station, *net.UDPConn){
		"that sends":       func(_ *station, conn *net.UDPConn) { _, _ = conn.Write([]byte("x")) },
		"that is silent":   func(*station, *net.UDPConn) {},
		"with its replies": func(s *station, _ *net.UDPConn) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			s.echo()
			conn := s.caller()
			s.wantEcho(conn, "x")
			s.trust.Store(int32(Gone))
			s.fails.Store(true)
			after(s, conn)
			s.eventually(func() error {
				if s.open.Load() != 0 {
					return errors.New("it goes on")
				}
				return nil
			})
			if !errors.Is(s.failure(), errGone) {
				t.Errorf("ended by %v", s.failure())
			}
		})
	}
}

// TestRepliesOfDoubt: what is not known to be the caller's is not sent to it.
func TestRepliesOfDoubt(t *testing.T) {
	s := start(t, nil)
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s.target.Store(silent.LocalAddr().(*net.UDPAddr).AddrPort())
	conn := s.caller()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_, flow, err := silent.ReadFromUDPAddrPort(make([]byte, 10))
	if err != nil {
		t.Fatal(err)
	}
	for trust, patience := range map[Trust]time.Duration{Doubted: 200 * time.Millisecond, Trusted: waitFor} {
		s.trust.Store(int32(trust))
		if _, err := silent.WriteToUDPAddrPort([]byte("reply"), flow); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 10)); (err == nil) != (trust == Trusted) {
			t.Errorf("trust %v: %v", trust, err)
		}
	}
	stranger, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(flow))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	_, _ = stranger.Write([]byte("forged")) // may be refused at once
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 10)); err == nil {
		t.Errorf("got %d bytes of somebody else", n)
	}
}

func TestAFlowMovesWhenItsEndpointIsNotCurrent(t *testing.T) {
	s := start(t, nil)
	first := s.echo()
	conn := s.caller()
	s.wantEcho(conn, "x")
	s.echo()
	s.moved.Store(true)
	s.wantEcho(conn, "whose reply comes from the former") // it was sent before the other was found
	s.eventually(func() error {
		if s.found.Load() < 2 {
			return errors.New("nothing was looked for")
		}
		return nil
	})
	s.moved.Store(false)
	first.Close()
	s.eventually(func() error { // what was sent to it while it was looked for is lost
		_, err := ask(conn, []byte("y"), 100*time.Millisecond)
		return err
	})
	if s.open.Load() != 1 {
		t.Errorf("%d flows", s.open.Load())
	}
}

func TestARefusalIsTold(t *testing.T) {
	s := start(t, nil)
	gone := s.echo()
	conn := s.caller()
	s.wantEcho(conn, "x")
	gone.Close()
	s.echo()
	s.eventually(func() error {
		_, err := ask(conn, []byte("y"), 100*time.Millisecond)
		return err
	})
	if s.failed.Load() == 0 {
		t.Error("nobody was told")
	}
	if s.open.Load() != 1 {
		t.Errorf("%d flows", s.open.Load())
	}
}

func TestAnIdleFlowEnds(t *testing.T) {
	s := start(t, func(s *Settings) { s.Idle = 300 * time.Millisecond })
	s.echo()
	conn := s.caller()
	for range 6 { // longer than that, but never idle for it
		s.wantEcho(conn, "x")
		time.Sleep(80 * time.Millisecond)
	}
	if s.ended.Load() != 0 {
		t.Error("it ended though it was used")
	}
	s.eventually(func() error {
		if s.open.Load() != 0 {
			return errors.New("it goes on")
		}
		return nil
	})
	if !errors.Is(s.failure(), errIdle) {
		t.Errorf("ended by %v", s.failure())
	}
	s.wantEcho(conn, "again")
}

// TestASprayOfPortsIsBounded: and costs nobody else's flow.
func TestASprayOfPortsIsBounded(t *testing.T) {
	s := start(t, func(s *Settings) { s.Max, s.MaxPerSource = 30, 20 })
	s.echo()
	victim, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}, s.to)
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	s.wantEcho(victim, "x")
	for i := range 300 {
		s.wantEcho(s.caller(), fmt.Sprint(i))
		if open := s.open.Load(); open > 21 {
			t.Fatalf("%d flows", open)
		}
	}
	if open, ended := s.open.Load(), s.ended.Load(); open != 21 || ended != 280 || !errors.Is(s.failure(), errCrowded) {
		t.Errorf("%d flows, %d ended by %v", open, ended, s.failure())
	}
	s.wantEcho(victim, "y")
	if s.open.Load() != 21 {
		t.Error("the flow of another was given up")
	}
}

// TestASprayOfStrangersLeavesNothingBehind: nor does it where who sends takes long to be found out.
func TestASprayOfStrangersLeavesNothingBehind(t *testing.T) {
	s := start(t, func(s *Settings) { s.Max, s.MaxPerSource = 30, 20 })
	s.slow.Store(true)
	s.echo()
	before := runtime.NumGoroutine()
	for range 300 {
		if _, err := s.caller().Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually(func() error {
		// The kernel drops datagrams that nobody has read in time.
		if open, ended := s.open.Load(), s.ended.Load(); open > 20 || ended < 100 {
			return fmt.Errorf("%d flows are open, %d have ended", open, ended)
		}
		if n := runtime.NumGoroutine() - before; n > 20 {
			return fmt.Errorf("%d goroutines for 20 flows", n)
		}
		return nil
	})
}

func TestAClosedPortLetsRepliesThrough(t *testing.T) {
	s := start(t, nil)
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s.target.Store(silent.LocalAddr().(*net.UDPAddr).AddrPort())
	conn := s.caller()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_, flow, err := silent.ReadFromUDPAddrPort(make([]byte, 10))
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	if _, err := silent.WriteToUDPAddrPort([]byte("reply"), flow); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(waitFor)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 10)); err != nil {
		t.Errorf("the reply was lost: %v", err)
	}
	s.eventually(func() error {
		if s.open.Load() != 0 {
			return errors.New("the flow goes on")
		}
		if conn, err := net.ListenUDP("udp", s.to); err != nil {
			return err
		} else {
			return conn.Close()
		}
	})
}

// TestManyCallersAtATime is for the race detector.
func TestManyCallersAtATime(t *testing.T) {
	s := start(t, func(s *Settings) { s.Max, s.MaxPerSource, s.Idle = 40, 30, 50*time.Millisecond })
	s.echo()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 50 {
				conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(1+i))}, s.to)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = ask(conn, fmt.Appendf(nil, "%d of %d", n, i), 20*time.Millisecond)
				switch n % 10 {
				case 3:
					s.moved.Store(i%2 == 0)
				case 5:
					s.trust.Store(int32(Trust(i % 3)))
				case 7:
					s.trust.Store(int32(Trusted))
					s.moved.Store(false)
				}
				conn.Close()
			}
		})
	}
	group.Wait()
}
