package udp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// echo repeats packets, but for those that begin with one of the words.
type echo struct {
	overloaded atomic.Int32
	release    chan struct{} // what slow queries wait for
	clients    sync.Map
}

func (e *echo) Quick(dst, packet []byte, client netip.AddrPort) ([]byte, bool) {
	e.clients.Store(client, true)
	switch text := string(packet); {
	case strings.HasPrefix(text, "panic"):
		panic(text)
	case strings.HasPrefix(text, "quiet"):
		return nil, true
	case len(packet) >= 12 && packet[11] == 0:
		return nil, false // a DNS message
	}
	return append(dst, packet...), true
}

func (e *echo) Patient(_, _ []byte, _ netip.AddrPort) ([]byte, bool) { return nil, false }

func (e *echo) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	if e.release != nil {
		<-e.release
	}
	_ = w.WriteMsg(new(dns.Msg).SetRcode(req, dns.RcodeRefused))
}

func (e *echo) Overloaded() { e.overloaded.Add(1) }

// start serves addr until the test ends.
func start(t testing.TB, addr string, handler Handler) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := &Server{Conn: conn.(*net.UDPConn), Handler: handler, Log: slog.New(slog.DiscardHandler)}
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		conn.Close()
	})
	return conn.(*net.UDPConn)
}

// dial is a client of the server's port at host.
func dial(t testing.TB, server *net.UDPConn, host string) net.Conn {
	t.Helper()
	port := server.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	conn, err := net.Dial("udp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// say sends a packet and wants another back.
func say(t testing.TB, conn net.Conn, text, want string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 65536)
	n, err := conn.Read(buffer)
	if err != nil || string(buffer[:n]) != want {
		t.Fatalf("%.20q was answered with %.20q, %v, want %.20q", text, buffer[:n], err, want)
	}
}

// A connected client takes replies from the asked address only.
func TestReplyComesFromTheAskedAddress(t *testing.T) {
	for _, c := range []struct{ listen, ask string }{
		{"127.0.0.1:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.53"},
		{"[::]:0", "::1"}, {"[::]:0", "127.0.0.53"}, {"[::1]:0", "::1"},
	} {
		t.Run(c.listen+" "+c.ask, func(t *testing.T) {
			server := start(t, c.listen, &echo{})
			conn := dial(t, server, c.ask)
			say(t, conn, "hello", "hello")
			query, err := new(dns.Msg).SetQuestion(".", dns.TypeA).Pack()
			if err != nil {
				t.Fatal(err)
			}
			query[12-1] = 0 // as it is: for ServeDNS
			if _, err := conn.Write(query); err != nil {
				t.Fatal(err)
			}
			buffer := make([]byte, 512)
			if n, err := conn.Read(buffer); err != nil || n != len(query) || buffer[3]&0x0f != dns.RcodeRefused {
				t.Errorf("slow reply %x, %v", buffer[:n], err)
			}
		})
	}
}

func TestEveryPacketIsAnswered(t *testing.T) {
	handler := &echo{}
	server := start(t, "127.0.0.1:0", handler)
	var wg sync.WaitGroup
	for client := range 50 {
		conn := dial(t, server, "127.0.0.1")
		wg.Go(func() {
			for i := range 200 {
				text := fmt.Sprintf("client %d says %d%s", client, i, strings.Repeat("!", i*7))
				if _, err := conn.Write([]byte(text)); err != nil {
					t.Error(err)
					return
				}
				buffer := make([]byte, MaxSize)
				if n, err := conn.Read(buffer); err != nil || string(buffer[:n]) != text {
					t.Errorf("%.20q was answered with %.20q, %v", text, buffer[:n], err)
					return
				}
			}
			local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
			if _, known := handler.clients.Load(local); !known {
				t.Errorf("client %s is not among those that asked", local)
			}
		})
	}
	wg.Wait()
}

func TestOddPacketsCostNobodyElse(t *testing.T) {
	server := start(t, "127.0.0.1:0", &echo{})
	conn := dial(t, server, "127.0.0.1")
	for _, text := range []string{"", "panic now", "quiet", strings.Repeat("x", MaxSize+1), "panic again"} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	// An empty packet, and what is left of one that is too large, are repeated here as empty ones.
	buffer := make([]byte, 10)
	for {
		say := "hello"
		if _, err := conn.Write([]byte(say)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if string(buffer[:n]) == say {
			return
		}
	}
}

func TestMalformedMessages(t *testing.T) {
	server := start(t, "127.0.0.1:0", &echo{})
	conn := dial(t, server, "127.0.0.1")
	const id = "\x12\x34"
	for _, c := range []struct{ title, packet, want string }{
		{"no question", id + "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", id + "\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"cut off", id + "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05ab", id + "\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"update", id + "\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01", id + "\xa8\x04\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01"},
	} {
		t.Run(c.title, func(t *testing.T) { say(t, conn, c.packet, c.want) })
	}
	// A response has no reply, else two servers could go on for ever.
	if _, err := conn.Write([]byte(id + "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	say(t, conn, "hello", "hello")
}

func TestSlowQueriesAreBounded(t *testing.T) {
	handler := &echo{release: make(chan struct{})}
	server := start(t, "127.0.0.1:0", handler)
	conn := dial(t, server, "127.0.0.1")
	query, err := new(dns.Msg).SetQuestion(".", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	query[12-1] = 0
	defer close(handler.release)
	for handler.overloaded.Load() == 0 {
		if _, err := conn.Write(query); err != nil {
			t.Fatal(err)
		}
		say(t, conn, "hello", "hello") // the quick ones go on, and nothing waits in the socket that could be lost
	}
}

func TestServingAllocatesNothing(t *testing.T) {
	server := start(t, "0.0.0.0:0", silent{})
	conn := dial(t, server, "127.0.0.1")
	packet, buffer := []byte("hello"), make([]byte, 64)
	allocated := testing.AllocsPerRun(2000, func() {
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buffer); err != nil {
			t.Fatal(err)
		}
	})
	if allocated != 0 {
		t.Errorf("%v allocations for a packet", allocated)
	}
}

// silent repeats packets and notes nothing.
type silent struct{}

func (silent) Quick(dst, packet []byte, _ netip.AddrPort) ([]byte, bool) {
	return append(dst, packet...), true
}
func (silent) Patient(_, _ []byte, _ netip.AddrPort) ([]byte, bool) { return nil, false }
func (silent) ServeDNS(dns.ResponseWriter, *dns.Msg)                {}
func (silent) Overloaded()                                          {}
