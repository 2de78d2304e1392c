package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestTheEndOfOneDirectionIsPassedOnAlone(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		s := start(t, form, serve(t, echo), 0)
		conn := s.dial()
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // more than all buffers
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
			t.Errorf("got %d of %d bytes, %v", len(got), len(sent), err)
		}
		if errs := s.wantEnded(1); errs[0] != nil {
			t.Errorf("ended by %v", errs[0])
		}
		if up, down := s.up.Load(), s.down.Load(); up != int64(len(sent)) || down != int64(len(sent)) {
			t.Errorf("counted %d up, %d down", up, down)
		}
	})
}

func TestAResetIsHandedThrough(t *testing.T) {
	backends := map[string]func(*net.TCPConn) error{
		"of the client":  func(conn *net.TCPConn) error { _, err := io.Copy(io.Discard, conn); return err },
		"of the backend": func(conn *net.TCPConn) error { reset(conn); return syscall.ECONNRESET },
	}
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			eachForm(t, func(t *testing.T, form string) {
				ended := make(chan error, 1)
				s := start(t, form, serve(t, func(conn *net.TCPConn) {
					_, err := io.ReadFull(conn, make([]byte, 1))
					if err == nil {
						err = backend(conn)
					}
					ended <- err
				}), 0)
				conn := s.dial()
				if _, err := conn.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if name == "of the client" {
					time.Sleep(10 * time.Millisecond) // the byte arrives
					reset(conn)
				} else if got, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("client got %q, %v", got, err)
				}
				if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("backend saw %v", err)
				}
				if errs := s.wantEnded(1); errs[0] == nil {
					t.Error("no error is told")
				}
			})
		})
	}
}

func TestWhatWaitsInTheQueueIsAccepted(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		s := start(t, form, serve(t, echo), 0)
		var conns []*net.TCPConn
		for range 20 {
			conns = append(conns, s.dial())
		}
		s.stop()
		for _, conn := range conns {
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if conn, err := net.DialTCP("tcp", nil, s.addr); err == nil {
			conn.Close()
			t.Error("still listening")
		}
	})
}

func TestWhoIsNotAdmittedIsReset(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		s := start(t, form, serve(t, echo), 0)
		s.refuse.Store(true)
		conn, err := net.DialTCP("tcp", nil, s.addr) // a reset can overtake the end of connect(2)
		if err == nil {
			defer conn.Close()
			_, err = io.ReadAll(conn)
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
	})
}
