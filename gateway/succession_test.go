package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/internal/daemon"
)

// Gateways follow each other at one address while clients read and write, each over a connection that
// it keeps, or over a new one each time. No request fails.
func TestGatewaysFollowEachOther(t *testing.T) {
	checkLeaks(t)
	member := startMember(t, "here", nil)
	settings := Settings{
		GatewayAddrs: []string{freeAddr(t)}, EtcdAddrs: []string{member.URL},
		Handover: fmt.Sprintf("dokkaa-gateway-test-%d", os.Getpid()),
	}
	var serving *heir
	follow := func() {
		next := startHeir(t, settings)
		next.wantTurn()
		if serving != nil {
			serving.stop()
		}
		serving = next
	}
	follow()
	url := "http://" + settings.GatewayAddrs[0] + "/v2/keys/x"
	clients := startClients(t, url)
	for range 5 {
		clients.more(50)
		follow()
	}
	clients.more(50)
	clients.stop()

	// Of one that ends itself the one before takes the place again.
	failing := startHeir(t, settings)
	failing.wantTurn()
	failing.stop()
	startClients(t, url).more(50)
}

// heir is a gateway that takes over from another.
type heir struct {
	*Gateway
	t    *testing.T
	stop func()
}

func startHeir(t *testing.T, settings Settings) *heir {
	t.Helper()
	g, err := New(settings, daemon.Env{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	h := &heir{Gateway: g, t: t, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})}
	t.Cleanup(h.stop)
	return h
}

func (h *heir) wantTurn() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), waitFor)
	defer cancel()
	if _, err := h.Turn(ctx); err != nil {
		h.t.Fatalf("it does not come to serve: %v", h.Ready())
	}
	eventually(h.t, h.Ready)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// clients ask again and again.
type clients struct {
	t     *testing.T
	url   string
	asked atomic.Int64
	stop  func()
}

func startClients(t *testing.T, url string) *clients {
	c := &clients{t: t, url: url}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	c.stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
	})
	t.Cleanup(c.stop)
	for n := range 4 {
		transport := &http.Transport{DisableKeepAlives: n%2 == 0}
		group.Go(func() {
			defer transport.CloseIdleConnections()
			for ctx.Err() == nil {
				if err := c.once(&http.Client{Transport: transport, Timeout: waitFor}); err != nil {
					t.Error(err)
				}
				c.asked.Add(1)
			}
		})
	}
	return c
}

// once writes, which nobody may do again for us.
func (c *clients) once(client *http.Client) error {
	req, err := http.NewRequest(http.MethodPut, c.url, io.NopCloser(&oneByte{}))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "here" {
		return fmt.Errorf("%s: %q, %w", resp.Status, body, err)
	}
	return nil
}

// oneByte is a body that cannot be sent twice.
type oneByte struct{ sent bool }

func (o *oneByte) Read(p []byte) (int, error) {
	if o.sent {
		return 0, io.EOF
	}
	o.sent, p[0] = true, 'x'
	return 1, nil
}

// more waits until so many more requests were answered.
func (c *clients) more(n int64) {
	c.t.Helper()
	want := c.asked.Load() + n
	for deadline := time.Now().Add(waitFor); c.asked.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("the clients do not get on")
		}
	}
}
