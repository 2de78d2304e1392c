package ledger

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func at(host int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)}), 80)
}

const name = "web.shop.skydns.local"

func TestOneAccountForEachServiceAndBackend(t *testing.T) {
	l := New()
	s := l.Service(name)
	if again := l.Service(name); again != s || l.Service("db.shop.skydns.local") == s {
		t.Error("services")
	}
	// Labels of metrics must not repeat, whatever stands on a container.
	if l.Service("web.shop.elsewhere") != s {
		t.Error("two services would have one name")
	}
	odd := l.Service("odd")
	if again := l.Service("odd"); again != odd || l.Service("odd.one") != l.Service("odd.one.out") {
		t.Error("odd names")
	}
	b := s.Backend(at(1))
	if again := s.Backend(at(1)); again != b || s.Backend(at(2)) == b {
		t.Error("backends")
	}
}

func TestMetrics(t *testing.T) {
	l := New()
	s := l.Service(name)
	b := s.Backend(at(1))
	b.Opened(time.Millisecond)
	b.Opened(2 * time.Second)
	b.Carried(10, 20)
	b.Closed(time.Second)
	b.Failed()
	s.Refused("no-backend")
	defer s.Waits()()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(l)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	got := w.Body.String()
	for _, want := range strings.Fields(`
backend_open_connections{app="shop",backend="10.0.0.1:80",service="web"}=1
backend_connections_total{app="shop",backend="10.0.0.1:80",service="web"}=2
backend_dial_errors_total{app="shop",backend="10.0.0.1:80",service="web"}=1
backend_bytes_total{app="shop",backend="10.0.0.1:80",direction="up",service="web"}=10
backend_bytes_total{app="shop",backend="10.0.0.1:80",direction="down",service="web"}=20
backend_dial_seconds_bucket{app="shop",backend="10.0.0.1:80",service="web",le="0.0005"}=0
backend_dial_seconds_bucket{app="shop",backend="10.0.0.1:80",service="web",le="0.001"}=1
backend_dial_seconds_bucket{app="shop",backend="10.0.0.1:80",service="web",le="1"}=1
backend_dial_seconds_bucket{app="shop",backend="10.0.0.1:80",service="web",le="+Inf"}=2
backend_dial_seconds_sum{app="shop",backend="10.0.0.1:80",service="web"}=2.001
backend_connection_seconds_count{app="shop",backend="10.0.0.1:80",service="web"}=1
service_refused_total{app="shop",reason="no-backend",service="web"}=1
service_waiting_connections{app="shop",service="web"}=1
`) {
		at := strings.LastIndexByte(want, '=')
		if line := "dokkaa_ambassador_" + want[:at] + " " + want[at+1:] + "\n"; !strings.Contains(got, line) {
			t.Errorf("no line %s in\n%s", line, got)
		}
	}
}

func TestWhatIsNotUsedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		s := l.Service(name)
		long, short := s.Backend(at(1)), s.Backend(at(2))
		long.Opened(0)
		short.Opened(0)
		short.Carried(1, 2)
		short.Closed(time.Second)
		backends := func() (n int) {
			for _, service := range l.Report(time.Now()).Services {
				n += len(service.Backends)
			}
			return n
		}
		time.Sleep(KeepFor)
		if l.forget(time.Now()); backends() != 2 {
			t.Errorf("too early: %d backends", backends())
		}
		time.Sleep(time.Second)
		if l.forget(time.Now()); backends() != 1 || s.Backend(at(1)) != long {
			t.Errorf("%d backends, want the one with an open connection", backends())
		}
		if r := l.Report(time.Now()).Services[0]; r.Opened != 2 || r.Up != 1 || r.Down != 2 || r.Open != 1 {
			t.Errorf("the service's own counters went with a backend: %+v", r)
		}
		long.Closed(time.Hour)
		time.Sleep(KeepFor + time.Second)
		if l.forget(time.Now()); len(l.Report(time.Now()).Services) != 0 || l.backends.Load() != 0 {
			t.Errorf("left: %+v", l.Report(time.Now()))
		}
	})
}

func TestBackendsAreLimited(t *testing.T) {
	l := New()
	s := l.Service(name)
	for i := range MaxBackends + 5 {
		s.Backend(at(i)).Opened(0)
	}
	report := l.Report(time.Now()).Services[0]
	if len(report.Backends) != MaxBackends+1 || report.Opened != MaxBackends+5 {
		t.Fatalf("%d backends, %d opened", len(report.Backends), report.Opened)
	}
	if last := report.Backends[MaxBackends]; last.Address != others || last.Opened != 5 {
		t.Errorf("others: %+v", last)
	}
}

func TestCountingAtOnceLosesNothing(t *testing.T) {
	l := New()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 1000 {
				b := l.Service(name).Backend(at(i % 3))
				b.Opened(time.Microsecond)
				b.Carried(1, 1)
				b.Closed(time.Microsecond)
				if open := b.Open(); open < 0 {
					t.Errorf("%d open", open)
				}
				l.forget(time.Now())
			}
		})
	}
	group.Wait()
	if r := l.Report(time.Now()).Services[0]; r.Opened != 8000 || r.Up != 8000 || r.Open != 0 {
		t.Errorf("%+v", r)
	}
}

func BenchmarkConnection(b *testing.B) {
	for _, backends := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint(backends), func(b *testing.B) {
			l := New()
			for i := range backends {
				l.Service(name).Backend(at(i)).Failed()
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					account := l.Service(name).Backend(at(i % backends))
					account.Opened(time.Millisecond)
					account.Carried(100, 1000)
					account.Closed(time.Second)
				}
			})
		})
	}
}
