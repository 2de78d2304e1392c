package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/internal/daemon"
)

// hostGateway is a gateway of host 10.0.0.1 before a conductor.
func hostGateway(t *testing.T, conductor http.HandlerFunc) (*Gateway, string) {
	t.Helper()
	server := httptest.NewServer(conductor)
	t.Cleanup(server.Close)
	g, err := New(Settings{HostIP: "10.0.0.1", ConductorAddr: strings.TrimPrefix(server.URL, "http://")},
		daemon.Env{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	door := httptest.NewServer(g)
	t.Cleanup(door.Close)
	return g, door.URL
}

func TestOnlyTheOwnHostIsAskedOf(t *testing.T) {
	_, url := hostGateway(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method+" "+r.URL.String()) })
	for _, test := range []struct {
		method, path, origin string
		want                 int
		says                 string
	}{
		{"GET", "/v1/hosts/10.0.0.1/instances/i1/logs?tail=5", "", 200, "GET /v1/instances/i1/logs?tail=5"},
		{"GET", "/v1/hosts/10.0.0.2/instances/i1/logs", "", 421, "this is the gateway of host 10.0.0.1: ask that of 10.0.0.2"},
		{"GET", "/v1/hosts/10.0.0.1/instances/i1/logs", "http://evil.test", 403, "requests of pages"},
		{"POST", "/v1/hosts/10.0.0.1/instances/i1/logs", "", 404, "no /v1/hosts/10.0.0.1/instances/i1/logs here"},
		{"GET", "/v1/instances/i1/logs", "", 404, "no /v1/instances/i1/logs here"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, url+test.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if test.origin != "" {
			req.Header.Set("Origin", test.origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != test.want || !strings.Contains(string(body), test.says) {
			t.Errorf("%s %s: %d %s, %v; want %d %q", test.method, test.path, resp.StatusCode, body, err, test.want, test.says)
		}
	}
}

// A stream reaches the client line by line, and ends with the gateway.
func TestHostStream(t *testing.T) {
	g, url := hostGateway(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "one")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/hosts/10.0.0.1/instances/i1/logs", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stream := bufio.NewReader(resp.Body)
	if line, err := stream.ReadString('\n'); line != "one\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	g.host.end()
	if rest, err := io.ReadAll(stream); len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestConductorAway(t *testing.T) {
	g, err := New(Settings{HostIP: "10.0.0.1", ConductorAddr: "127.0.0.1:1"}, daemon.Env{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://127.0.0.1:4001/v1/hosts/10.0.0.1/instances/i/logs", http.NoBody)
	g.ServeHTTP(w, r)
	if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "the conductor of host 10.0.0.1 does not answer") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
