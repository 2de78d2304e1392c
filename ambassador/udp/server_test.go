package udp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

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
	// They are read in the order in which they came: when another's is, all of these were.
	if _, err := s.caller().Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	s.eventually(func() error {
		if n := s.open.Load(); n != 2 {
			return fmt.Errorf("%d flows", n)
		}
		return nil
	})
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
	if n := s.found.Load(); n != 2 {
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
