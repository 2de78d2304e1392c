package store

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/prometheus/client_golang/prometheus"
)

// gateway is a plain reverse proxy to etcd.
func gateway(t *testing.T, etcd string) string {
	t.Helper()
	to, err := url.Parse(etcd)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

func TestMirrorThroughAGateway(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1)
	s := open(t, []string{gateway(t, etcd.Endpoints()[0])})
	m := startMirror(t, s, "/m")
	mustSet(t, s, "/m/a", "1")
	waitContent(t, m, time.Second, "/m/a=1")
	time.Sleep(pollTime + time.Second) // a poll without an event
	if !m.Snapshot().Known {
		t.Errorf("a quiet mirror is unknown: %v", m.Snapshot().Err)
	}
	etcd.Member(0).Kill()
	waitUnknown(t, m, 5*time.Second, ErrUnavailable)
	etcd.Member(0).Restart()
	waitKnown(t, m, 5*time.Second)
	mustSet(t, s, "/m/b", "1")
	waitContent(t, m, time.Second, "/m/a=1 /m/b=1")
}

func TestMirrorOfAMemberThatIsCutOff(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 3)
	m := startMirror(t, open(t, etcd.Endpoints()[:1]), "/m")
	etcd.Member(1).Kill()
	etcd.Member(2).Kill()
	// Its polls go on to look well.
	waitUnknown(t, m, 3*(pollTime+3*time.Second), ErrUnavailable)
	etcd.Member(1).Restart()
	waitKnown(t, m, 20*time.Second)
}

func TestHTTPSWantsACertificateThatWeTrust(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("asked by %s", r.Proto)
		}
		w.Header().Set("X-Etcd-Index", "7")
		if _, err := io.WriteString(w, `{"action":"get","node":{"key":"/a","value":"1","modifiedIndex":7}}`); err != nil {
			t.Error(err)
		}
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting := open(t, []string{server.Listener.Addr().String()}, func(o *Options) { o.TLS = func() *tls.Config { return &tls.Config{RootCAs: roots} } })
	if n, err := trusting.Get(t.Context(), "/a"); err != nil || n.Value != "1" {
		t.Errorf("got %+v, %v", n, err)
	}
	strict := open(t, []string{server.URL}, func(o *Options) { o.Timeout = 200 * time.Millisecond })
	_, err := strict.Get(t.Context(), "/a")
	wantErr(t, "unknown certificate", err, ErrUnavailable)
	_, err = strict.CompareAndSwap(t.Context(), "/a", "2", 7)
	wantErr(t, "swap, of which nothing was sent", err, ErrUnavailable)
}

func TestStoresShareMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	for range 2 {
		s := open(t, []string{closedPort(t)}, func(o *Options) { o.Metrics, o.Timeout = registry, 50*time.Millisecond })
		_, err := s.Get(t.Context(), "/a")
		wantErr(t, "get", err, ErrUnavailable)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "dokkaa_store_request_seconds" && family.GetMetric()[0].GetHistogram().GetSampleCount() >= 2 {
			return
		}
	}
	t.Errorf("the requests of both are in none of %v", families)
}
