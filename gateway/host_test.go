package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	return gatewayOf(t, "10.0.0.1", conductor)
}

func gatewayOf(t *testing.T, ip string, conductor http.HandlerFunc) (*Gateway, string) {
	t.Helper()
	server := httptest.NewServer(conductor)
	t.Cleanup(server.Close)
	g, err := New(Settings{HostIP: ip, ConductorAddr: strings.TrimPrefix(server.URL, "http://")},
		daemon.Env{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	door := httptest.NewServer(g)
	t.Cleanup(door.Close)
	return g, door.URL
}

func TestOwnHost(t *testing.T) {
	_, url := hostGateway(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method+" "+r.URL.String()) })
	for _, test := range []struct {
		method, path, origin string
		want                 int
		says                 string
	}{
		{"GET", "/v1/hosts/10.0.0.1/instances/i1/logs?tail=5", "", 200, "GET /v1/instances/i1/logs?tail=5"},
		{"POST", "/v1/hosts/10.0.0.1/instances/i1/exec", "", 200, "POST /v1/instances/i1/exec"},
		{"POST", "/v1/hosts/10.0.0.1/instances/i1/exec", "null", 403, "requests of pages"},
		{"GET", "/v1/hosts/127.0.0.1/instances/i1/logs", "", 404, "not the IPv4 address of a host"},
		{"GET", "/v1/hosts/example.com/instances/i1/logs", "", 404, "not the IPv4 address of a host"},
		{"GET", "/v1/hosts/10.0.0.1/instances/i1/logs", "http://evil.test", 403, "requests of pages"},
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

// joined makes a gateway reach others by these addresses.
func (d *hostDoor) joined(hosts map[string]string) {
	d.toHost.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(hosts[addr], "http://"))
	}
}

// A gateway asks that of the host in question, which asks no further.
func TestOtherHost(t *testing.T) {
	near, nearURL := hostGateway(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "of another host") })
	far, farURL := gatewayOf(t, "10.0.0.2", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method+" "+r.URL.String(), r.Header) })
	near.host.joined(map[string]string{"10.0.0.2:4001": farURL, "10.0.0.3:4001": farURL})
	far.host.joined(map[string]string{"10.0.0.3:4001": nearURL})
	for path, want := range map[string]string{
		"/v1/hosts/10.0.0.2/instances/i1/logs?tail=5": "GET /v1/instances/i1/logs?tail=5",
		"/v1/hosts/10.0.0.3/instances/i1/logs":        "this is the gateway of host 10.0.0.2, and that of 10.0.0.1 takes it for that of 10.0.0.3",
		"/v1/hosts/10.0.0.4/instances/i1/logs":        "the gateway of host 10.0.0.4 does not answer",
	} {
		resp, err := http.Get(nearURL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.HasPrefix(string(body), want) || strings.Contains(string(body), "10.0.0.1]") {
			t.Errorf("%s: %s, %v; want %s", path, body, err, want)
		}
	}
}

// A connection that is upgraded carries bytes both ways through two gateways, and each end hears that the
// other has gone.
func TestUpgradeOverTwoGateways(t *testing.T) {
	ended := make(chan error, 1)
	near, nearURL := hostGateway(t, nil)
	_, farURL := gatewayOf(t, "10.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		conn, stream, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		for {
			line, err := stream.ReadString('\n')
			if err != nil {
				ended <- err
				return
			}
			fmt.Fprint(conn, "heard "+line)
		}
	})
	near.host.joined(map[string]string{"10.0.0.2:4001": farURL})
	conn, err := net.Dial("tcp", strings.TrimPrefix(nearURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /v1/hosts/10.0.0.2/instances/i1/exec HTTP/1.1\r\nHost: 10.0.0.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	stream := bufio.NewReader(conn)
	resp, err := http.ReadResponse(stream, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	fmt.Fprintln(conn, "a word")
	if line, err := stream.ReadString('\n'); line != "heard a word\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	conn.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the conductor's end: %v", err)
	}
}
