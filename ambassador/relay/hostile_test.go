package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// wantEcho carries a byte both ways.
func wantEcho(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestWhoReadsSlowlyGetsAllAndHoldsUpNobody(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		sent := make([]byte, 8<<20)
		for i := range sent {
			sent[i] = byte(i * 7 >> 3)
		}
		s := start(t, form, serve(t, func(conn *net.TCPConn) {
			if n, err := io.ReadFull(conn, make([]byte, 1)); n == 0 || err != nil {
				return
			}
			_, _ = conn.Write([]byte("x"))
			if n, _ := conn.Read(make([]byte, 1)); n == 1 {
				_, _ = conn.Write(sent) // what the client lacks shows there
			}
		}), 0)
		other, slow := s.dial(), s.dial()
		wantEcho(t, slow)
		if _, err := slow.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		chunk := make([]byte, 100<<10)
		for {
			time.Sleep(time.Millisecond)
			n, err := slow.Read(chunk)
			got.Write(chunk[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if other != nil {
				wantEcho(t, other)
				other = nil
			}
		}
		if !bytes.Equal(got.Bytes(), sent) {
			t.Errorf("got %d bytes of %d, or others", got.Len(), len(sent))
		}
	})
}

func TestWhoWritesWithoutEndIsHeldBack(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		var first atomic.Bool
		s := start(t, form, serve(t, func(conn *net.TCPConn) {
			if first.CompareAndSwap(false, true) {
				<-t.Context().Done() // reads nothing
				return
			}
			echo(conn)
		}), 0)
		writer := s.dial()
		block := make([]byte, 1<<20)
		written := 0
		for {
			if err := writer.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			n, err := writer.Write(block)
			if written += n; errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if written > 128<<20 {
			t.Errorf("%d bytes were taken that nobody reads", written)
		}
		wantEcho(t, s.dial())
	})
}

func TestAResetInTheMiddleEndsBothSides(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		for _, clientResets := range []bool{true, false} {
			ended := make(chan error, 1)
			flood := func(conn *net.TCPConn, resets bool) error {
				written := make(chan error, 1)
				go func() {
					_, err := io.Copy(conn, endless{})
					written <- err
				}()
				if resets {
					_, _ = io.CopyN(io.Discard, conn, 3<<20)
					reset(conn)
					<-written
					return nil
				}
				_, err := io.Copy(io.Discard, conn)
				return errors.Join(err, <-written) // one of them has the reset
			}
			s := start(t, form, serve(t, func(conn *net.TCPConn) { ended <- flood(conn, !clientResets) }), 0)
			errClient := flood(s.dial(), clientResets)
			errBackend := <-ended
			if seen := errors.Join(errClient, errBackend); !errors.Is(seen, syscall.ECONNRESET) {
				t.Errorf("client resets: %v: the other saw %v", clientResets, seen)
			}
			s.wantEnded(1)
			s.stop()
		}
	})
}

// endless is a reader without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestWhoEndsItsHalfGetsTheOther(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		answer := bytes.Repeat([]byte("answer"), 1<<17)
		s := start(t, form, serve(t, func(conn *net.TCPConn) {
			_, _ = io.Copy(io.Discard, conn)
			time.Sleep(200 * time.Millisecond)
			_, _ = conn.Write(answer)
		}), 0)
		for _, question := range []string{"", "question"} {
			conn := s.dial()
			if _, err := conn.Write([]byte(question)); err != nil {
				t.Fatal(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, answer) {
				t.Errorf("got %d bytes of %d, %v", len(got), len(answer), err)
			}
		}
	})
}

// What a server says before it closes without reading all arrives, though it resets the connection.
func TestTheLastWordsOfWhoDoesNotListenArrive(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		s := start(t, form, serve(t, func(conn *net.TCPConn) {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err == nil {
				_, _ = conn.Write([]byte("too large"))
				time.Sleep(20 * time.Millisecond) // more of the question comes
			}
		}), 0)
		for range 20 {
			conn := s.dial()
			if _, err := conn.Write(make([]byte, 10<<10)); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); string(got) != "too large" {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
}

func TestAnIdleConnectionEnds(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		s := start(t, form, serve(t, echo), time.Second)
		conn := s.dial()
		for range 10 { // longer than the timeout, but never idle for it
			wantEcho(t, conn)
			time.Sleep(120 * time.Millisecond)
		}
		if got, err := io.ReadAll(conn); err == nil || len(got) > 0 {
			t.Errorf("got %q, %v", got, err)
		}
		if errs := s.wantEnded(1); !errors.Is(errs[0], errIdle) {
			t.Errorf("ended by %v", errs[0])
		}
	})
}

// Who takes its time to read what was sent at once is not idle.
func TestWhoReadsSlowlyIsNotIdle(t *testing.T) {
	const size, step = 12 << 20, 48 << 10
	eachForm(t, func(t *testing.T, form string) {
		s := start(t, form, serve(t, func(conn *net.TCPConn) { _, _ = conn.Write(make([]byte, size)) }), 400*time.Millisecond)
		conn := s.dial()
		if err := conn.SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < size; {
			n, err := io.ReadFull(conn, make([]byte, min(step, size-got)))
			if got += n; err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			time.Sleep(4 * time.Millisecond)
		}
	})
}

func TestWhoConnectsAndSaysNothingCostsTwoDescriptors(t *testing.T) {
	const conns = 300
	eachForm(t, func(t *testing.T, form string) {
		s := start(t, form, serve(t, func(conn *net.TCPConn) { // as echo, without a pipe of its own
			for b := make([]byte, 1); ; {
				if n, err := conn.Read(b); err != nil || n == 0 {
					return
				}
				_, _ = conn.Write(b)
			}
		}), 0)
		before := len(openDescriptors(t))
		var all []*net.TCPConn
		for range conns {
			all = append(all, s.dial())
		}
		wantEcho(t, all[0])
		eventually(t, func() bool { return s.open.Load() == conns }, "not all are open")
		if form == "fast" { // the other form takes pipes
			// The client's, the relay's two, and the backend's.
			eventually(t, func() bool { return len(openDescriptors(t))-before == 4*conns }, "other than 4 descriptors")
		}
		for _, conn := range all {
			conn.Close()
		}
		s.wantEnded(conns)
	})
}
