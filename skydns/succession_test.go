package skydns

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/handover"
	"github.com/miekg/dns"
)

// Servers follow each other at one address while clients ask over UDP, of which nobody asks twice, and
// over TCP. Every question is answered.
func TestServersFollowEachOther(t *testing.T) {
	addr := closedPort(t)
	name := fmt.Sprintf("dokkaa-skydns-test-%d", os.Getpid())
	serving := startServer(t, name, addr)
	serving.wantTurn(t)
	clients := startQuestions(t, addr.String())
	for range 5 {
		clients.more(100)
		next := startServer(t, name, addr)
		next.wantTurn(t)
		serving.stop()
		serving = next
	}
	clients.more(100)
	clients.stop()

	// Of one that ends itself the one before takes the place again.
	failing := startServer(t, name, addr)
	failing.wantTurn(t)
	failing.stop()
	eventually(t, func() error { return answering(addr.String()) })
}

// successor is a server that takes over from another.
type successor struct {
	server *Server
	post   *handover.Post
	stop   func()
}

func startServer(t *testing.T, name string, addr netip.AddrPort) *successor {
	t.Helper()
	source := newFakeSource()
	config := testConfig()
	config.Listen = []Endpoint{{Addr: addr.Addr(), Port: addr.Port()}}
	s := new(successor)
	config.Sockets = handover.NewSockets(func(name handover.Name) bool { return s.server.wants(name) })
	s.server = newServer(t, config, source)
	s.post = handover.New(handover.Settings{Name: name, Server: config.Sockets, Ready: s.server.hasRecords,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.Background())
	serving, end := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		defer end()
		s.post.Run(ctx)
	})
	group.Go(func() {
		if err := s.server.Run(serving); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
		config.Sockets.Close()
	})
	t.Cleanup(s.stop)
	source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
	return s
}

func (s *successor) wantTurn(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.post.Turn(ctx); err != nil {
		t.Fatalf("it does not come to serve: %v", s.server.Ready())
	}
	eventually(t, s.server.Ready)
}

// questions are asked again and again.
type questions struct {
	t     *testing.T
	asked atomic.Int64
	stop  func()
}

func startQuestions(t *testing.T, addr string) *questions {
	q := &questions{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	q.stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
	})
	t.Cleanup(q.stop)
	for _, network := range []string{"udp", "tcp", "udp", "tcp"} {
		group.Go(func() {
			client := dns.Client{Net: network, Timeout: 3 * time.Second}
			for ctx.Err() == nil {
				reply, _, err := client.Exchange(question("a.skydns.local.", dns.TypeA), addr)
				if err != nil || len(reply.Answer) != 1 {
					t.Errorf("%s: %v, %v", network, reply, err)
				}
				q.asked.Add(1)
			}
		})
	}
	return q
}

// more waits until so many more were answered.
func (q *questions) more(n int64) {
	q.t.Helper()
	want := q.asked.Load() + n
	eventually(q.t, func() error {
		if asked := q.asked.Load(); asked < want {
			return fmt.Errorf("%d answers, want %d", asked, want)
		}
		return nil
	})
}
