package store

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// open returns a store on the endpoints, which logs to the test.
func open(t *testing.T, endpoints []string, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{Endpoints: endpoints, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func mustSet(t *testing.T, s *Store, key, value string) Node {
	t.Helper()
	n, err := s.Set(t.Context(), key, value, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// keysOf are the keys of the nodes, as "key=value" sorted.
func keysOf(nodes []Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Key+"="+n.Value)
	}
	return strings.Join(all, " ")
}

func TestNewRefusesBadEndpoints(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"", "host", "ftp://h:1", "http://h", "http://h:1/path", "http://u:p@h:1", "http://h:1?q", "http://:4001"} {
		if _, err := New(Options{Endpoints: []string{endpoint}}); err == nil {
			t.Errorf("%q is accepted", endpoint)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no endpoint is accepted")
	}
	if _, err := New(Options{Endpoints: []string{"h:1"}, ClusterKey: "x"}); err == nil {
		t.Error("a bad cluster key is accepted")
	}
}

func TestEndpointForms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, want string
		tls      func() *tls.Config
	}{
		{"10.0.0.1:4001", "http://10.0.0.1:4001", nil},
		{" [fd00::1]:4001 ", "http://[fd00::1]:4001", nil},
		{"http://h:4001/", "http://h:4001", nil},
		{"h:4001", "https://h:4001", func() *tls.Config { return new(tls.Config) }},
	}
	for _, tt := range tests {
		s, err := New(Options{Endpoints: []string{tt.in}, TLS: tt.tls})
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
		} else if s.endpoints[0].url != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, s.endpoints[0].url, tt.want)
		}
	}
}

func TestKeysMustBePaths(t *testing.T) {
	t.Parallel()
	s := open(t, []string{"127.0.0.1:1"})
	for _, key := range []string{"", "a", "/a/", "/a//b", "/a/../b", "/./a"} {
		if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

func TestWithoutEtcdEveryCallFailsInTime(t *testing.T) {
	t.Parallel()
	s := open(t, []string{closedPort(t), closedPort(t)}, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	ctx := t.Context()
	calls := map[string]func() error{
		"get":    func() error { _, err := s.Get(ctx, "/a"); return err },
		"list":   func() error { _, err := s.List(ctx, "/a"); return err },
		"set":    func() error { _, err := s.Set(ctx, "/a", "", 0); return err },
		"delete": func() error { return s.Delete(ctx, "/a") },
		// Nothing was sent, so that nothing happened.
		"create": func() error { _, err := s.Create(ctx, "/a", "", 0); return err },
		"cas":    func() error { _, err := s.CompareAndSwap(ctx, "/a", "", 1); return err },
		"cad":    func() error { return s.CompareAndDelete(ctx, "/a", 1) },
	}
	for name, call := range calls {
		started := time.Now()
		err := call()
		wantErr(t, name, err, ErrUnavailable)
		if errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(started); took > 3*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := open(t, []string{silentServer(t)})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	started := time.Now()
	_, err := s.Get(ctx, "/a")
	wantErr(t, "get", err, context.DeadlineExceeded)
	if took := time.Since(started); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAnswersThatAreNotEtcds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"gateway without etcd", http.StatusBadGateway, "<html>no etcd</html>", ErrUnavailable},
		{"gateway that waited", http.StatusGatewayTimeout, "timeout", ErrUnavailable},
		{"gateway at its start", http.StatusServiceUnavailable, "", ErrUnavailable},
		{"no leader", http.StatusInternalServerError, `{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}`, ErrUnavailable},
		{"no v2 keys", http.StatusNotFound, "404 page not found\n", ErrNoV2},
		{"foreign host name", http.StatusMisdirectedRequest, "misdirected", ErrRefused},
		{"role that may not", http.StatusForbidden, "your certificate may not write this", ErrRefused},
		{"login page", http.StatusOK, "<html>who are you</html>", ErrUnavailable},
		{"JSON of something else", http.StatusOK, `{"hello":"world"}`, ErrUnavailable},
		{"nothing", http.StatusOK, "", ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body)) // the client may be gone
			}))
			t.Cleanup(server.Close)
			timeout := 10 * time.Second // an answer decides before
			if tt.want == ErrUnavailable {
				timeout = 200 * time.Millisecond // what is tried again is tried for so long
			}
			s := open(t, []string{server.URL}, func(o *Options) { o.Timeout = timeout })
			_, err := s.Get(t.Context(), "/a")
			wantErr(t, "get", err, tt.want)
			_, err = s.CompareAndSwap(t.Context(), "/a", "1", 1)
			if tt.want == ErrUnavailable {
				wantErr(t, "swap", err, ErrOutcomeUnknown)
			} else {
				wantErr(t, "swap", err, tt.want)
			}
		})
	}
}

// closedPort is an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// silentServer takes connections and says nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func TestEtcdIsAskedAsTheUser(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "reader" || password != "secret" {
			t.Errorf("asked as %q with %q", name, password)
		}
		w.Header().Set("X-Etcd-Index", "7")
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write([]byte(`{"action":"get","node":{"key":"/a","value":"1","modifiedIndex":7,"createdIndex":7}}`)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	s := open(t, []string{server.URL}, func(o *Options) { o.Username, o.Password = "reader", "secret" })
	if n, err := s.Get(t.Context(), "/a"); err != nil || n.Value != "1" {
		t.Errorf("got %+v, %v", n, err)
	}
}
