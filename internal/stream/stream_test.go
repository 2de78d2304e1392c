package stream

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// ends are the two ends of a stream that runs until the test ends.
type ends struct {
	a, b   *Conn
	ra, rb net.Conn
	group  sync.WaitGroup
	why    [2]error
}

func start(onA, onB func([]byte)) *ends {
	e := new(ends)
	e.ra, e.rb = net.Pipe()
	e.a, e.b = New(e.ra), New(e.rb)
	e.group.Go(func() { e.why[0] = e.a.Run(onA) })
	e.group.Go(func() { e.why[1] = e.b.Run(onB) })
	return e
}

func ignore([]byte) {}

func TestBytesArriveWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(ignore, ignore)
		want := make([]byte, 1<<20+7)
		if _, err := rand.Read(want); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		carry := func(from, to *Conn, channel int) {
			group.Go(func() {
				if n, err := from.Channel(channel).Write(want); n != len(want) || err != nil {
					t.Error(n, err)
				}
				if err := from.Channel(channel).CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() {
				if got, err := io.ReadAll(to.Channel(channel)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("channel %d: %d bytes, %v", channel, len(got), err)
				}
			})
		}
		carry(e.a, e.b, 0)
		carry(e.b, e.a, 0)
		carry(e.b, e.a, 1)
		group.Wait()
		e.a.Finish()
		time.Sleep(10 * aliveTimeout) // it is not taken for gone
		e.b.Finish()
		e.group.Wait()
		if e.why[0] != nil || e.why[1] != nil {
			t.Errorf("it ends with %v", e.why)
		}
	})
}

// What nobody reads holds up neither the other channels nor messages, nor is its sender taken for gone.
func TestAFullChannelHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		e := start(ignore, func(m []byte) { told = append(told, string(m)) })
		sent := make(chan error, 1)
		go func() {
			_, err := e.a.Channel(0).Write(make([]byte, 2*window))
			sent <- err
		}()
		time.Sleep(10 * aliveTimeout)
		if err := e.a.Tell([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := e.a.Channel(1).Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		one := make([]byte, 4)
		if n, err := e.b.Channel(1).Read(one); n != 1 || err != nil || len(told) != 1 {
			t.Errorf("%d, %v, told %q", n, err, told)
		}
		select {
		case err := <-sent:
			t.Errorf("all was sent: %v", err)
		default:
		}
		if _, err := io.CopyN(io.Discard, e.b.Channel(0), 2*window); err != nil {
			t.Error(err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		e.b.Close()
		e.group.Wait()
	})
}

// One that closes, or is closed, without a word is gone.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(ignore, ignore)
		e.a.Close()
		e.group.Wait()
		if !errors.Is(e.why[0], errClosed) || !errors.Is(e.why[1], io.EOF) {
			t.Errorf("it ends with %v", e.why)
		}
		if _, err := e.b.Channel(0).Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read says %v", err)
		}
	})
}

// deaf is a connection whose other side is gone without a word.
type deaf struct {
	closed chan struct{}
	once   sync.Once
}

func (d *deaf) Read([]byte) (int, error) { <-d.closed; return 0, net.ErrClosed }
func (d *deaf) Write([]byte) (int, error) {
	<-d.closed
	return 0, net.ErrClosed
}
func (d *deaf) Close() error { d.once.Do(func() { close(d.closed) }); return nil }

func TestSilenceIsAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(&deaf{closed: make(chan struct{})})
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := c.Channel(0).Write([]byte("x")); err == nil {
				t.Error("it was sent")
			}
		})
		group.Go(func() {
			if _, err := c.Channel(0).Read(make([]byte, 1)); !errors.Is(err, ErrSilent) {
				t.Errorf("read says %v", err)
			}
		})
		begin := time.Now()
		if err := c.Run(ignore); !errors.Is(err, ErrSilent) || time.Since(begin) > 15*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		group.Wait()
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(ignore, ignore)
		if err := e.a.Channel(0).Reset(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.b.Channel(0).Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
			t.Errorf("read says %v", err)
		}
		if _, err := e.b.Channel(0).Write([]byte("x")); !errors.Is(err, ErrReset) {
			t.Errorf("write says %v", err)
		}
		if err := e.b.Channel(0).CloseWrite(); err == nil {
			t.Error("what broke off ends")
		}
		if _, err := e.b.Channel(1).Write([]byte("x")); err != nil {
			t.Errorf("another channel: %v", err)
		}
		e.a.Close()
		e.group.Wait()
	})
}

// Who does not keep to the protocol is cut off, and costs no memory.
func TestFoulPlay(t *testing.T) {
	for name, frames := range map[string][]byte{
		"no such channel": {byte(kindData), 9, 0, 0},
		"wrong length":    {byte(kindTaken), 0, 0, 1, 5},
		"breaks off":      {byte(kindData), 0, 0, 9, 1},
		"overrun":         bytes.Repeat(append([]byte{byte(kindData), 0, 0x80, 0}, make([]byte, 0x8000)...), window/0x8000+1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				other, raw := net.Pipe()
				c := New(raw)
				go func() {
					_, _ = other.Write(frames) // the other side may have closed
					_ = other.Close()
				}()
				if err := c.Run(ignore); err == nil {
					t.Errorf("it ends with %v", err)
				}
			})
		})
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{byte(kindData), 0, 0, 1, 7, byte(kindMessage), 0, 0, 0, byte(kindEnd), 0, 0, 0})
	f.Fuzz(func(t *testing.T, frames []byte) {
		c := New(struct {
			io.Reader
			io.WriteCloser
		}{bytes.NewReader(frames), nothing{}})
		if err := c.Run(ignore); err == nil {
			t.Error("it ends without a reason")
		}
	})
}

type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }
func (nothing) Close() error                { return nil }

// pair is a TCP connection.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

func TestCarry(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, user, server *net.TCPConn){
		"each direction ends on its own": func(t *testing.T, user, server *net.TCPConn) {
			if _, err := user.Write([]byte("question")); err != nil {
				t.Error(err)
			}
			if err := user.CloseWrite(); err != nil {
				t.Error(err)
			}
			if text, err := io.ReadAll(server); string(text) != "question" || err != nil {
				t.Errorf("%q, %v", text, err)
			}
			if _, err := server.Write([]byte("answer")); err != nil {
				t.Error(err)
			}
			server.Close()
			if text, err := io.ReadAll(user); string(text) != "answer" || err != nil {
				t.Errorf("%q, %v", text, err)
			}
		},
		"a reset stays one": func(t *testing.T, user, server *net.TCPConn) {
			if err := server.SetLinger(0); err != nil {
				t.Error(err)
			}
			server.Close()
			if _, err := io.ReadAll(user); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("it reads %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ra, rb := pair(t)
			user, local := pair(t)
			far, server := pair(t)
			var both sync.WaitGroup
			for raw, conn := range map[io.ReadWriteCloser]*net.TCPConn{ra: local, rb: far} {
				both.Go(func() {
					if err := Carry(New(raw), conn); err != nil {
						t.Errorf("it ends with %v", err)
					}
				})
			}
			test(t, user, server)
			user.Close()
			server.Close()
			both.Wait()
		})
	}
}
