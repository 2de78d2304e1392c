package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/internal/certificate"
	"github.com/dokkaa/dokkaa/internal/daemon"
)

const waitFor = 15 * time.Second

// eventually polls until check returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(waitFor)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// checkLeaks fails the test if goroutines are left at its end.
func checkLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(waitFor)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// door is a running gateway.
type door struct {
	*Gateway
	t      *testing.T
	url    string
	etcd   certificate.Files
	client *http.Client
	stop   func()
}

// startGateway starts a gateway to the members and waits until it listens.
func startGateway(t *testing.T, members ...string) *door {
	t.Helper()
	return startGatewayWith(t, Settings{GatewayAddrs: []string{"127.0.0.1:0"}, GatewayHosts: []string{"keys.test"}, EtcdAddrs: members}, func(*Gateway) {})
}

// startGatewayWith starts a gateway after change was done to it.
func startGatewayWith(t *testing.T, settings Settings, change func(*Gateway)) *door {
	t.Helper()
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	g, err := New(settings, daemon.Env{
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	change(g)
	transport := &http.Transport{}
	d := &door{Gateway: g, t: t, etcd: settings.etcdFiles(), client: &http.Client{Transport: transport, Timeout: 2 * waitFor}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		transport.CloseIdleConnections()
	})
	t.Cleanup(d.stop)
	eventually(t, func() error { return g.entrances[0].ready() })
	d.url = "http://" + g.Addrs()[0].String()
	return d
}

// startReadyGateway waits, beyond that, for a healthy member.
func startReadyGateway(t *testing.T, members ...string) *door {
	t.Helper()
	d := startGateway(t, members...)
	eventually(t, d.Ready)
	return d
}

func (d *door) request(method, path, form string) *http.Request {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, strings.NewReader(form))
	if err != nil {
		d.t.Fatal(err)
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

// send sends the request and reads the whole answer.
func (d *door) send(req *http.Request) (status int, header http.Header, body string, err error) {
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(text), err
}

// do is send for a request that must be answered.
func (d *door) do(method, path, form string) (int, string) {
	d.t.Helper()
	status, _, body, err := d.send(d.request(method, path, form))
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, body
}

// fakeMember is a member of etcd that answers with its name, or as keys does.
type fakeMember struct {
	*httptest.Server
	keys   http.HandlerFunc // nil: says its name
	ill    atomic.Bool      // knows no leader
	hangs  atomic.Bool      // answers no probe
	served atomic.Int32     // requests for keys
}

func startMember(t *testing.T, name string, keys http.HandlerFunc) *fakeMember {
	t.Helper()
	m := &fakeMember{keys: keys}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/health" && m.hangs.Load():
			<-r.Context().Done()
		case r.URL.Path == "/health":
			fmt.Fprintf(w, `{"health":"%v"}`, !m.ill.Load() || r.URL.Query().Get("serializable") == "true")
		case keys != nil:
			m.served.Add(1)
			keys(w, r)
		default:
			m.served.Add(1)
			fmt.Fprint(w, name)
		}
	}))
	t.Cleanup(func() {
		m.CloseClientConnections()
		m.Close()
	})
	return m
}

// startPoll begins a long poll and returns once its header is there. The result is what ended it.
func (d *door) startPoll(path string) <-chan error {
	d.t.Helper()
	resp, err := d.client.Do(d.request(http.MethodGet, path, ""))
	if err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		ended <- err
	}()
	return ended
}

// hold is a long poll that has no event.
func hold(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Etcd-Index", "7")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func formOfValue(value string) string { return url.Values{"value": {value}}.Encode() }
