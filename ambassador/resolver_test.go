package ambassador

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

// endpointsOf are those of the pool.
func endpointsOf(p *backend.Pool) (endpoints []backend.Endpoint) {
	for _, s := range p.Status() {
		endpoints = append(endpoints, s.Endpoint)
	}
	return endpoints
}

func newTestResolver(server string) *resolver {
	return newResolver(func() (string, error) { return server, nil }, newMetrics(testEnv().Metrics).dnsErrors)
}

func TestLookupReadsEveryFormOfAnswer(t *testing.T) {
	want := []backend.Endpoint{
		{Addr: netip.MustParseAddrPort("192.0.2.1:32768"), Priority: 10, Weight: 50},
		{Addr: netip.MustParseAddrPort("192.0.2.2:32769"), Priority: 20, Weight: 100},
	}
	for name, change := range map[string]func(*fakeDNS){
		"with addresses":    func(*fakeDNS) {},
		"without addresses": func(f *fakeDNS) { f.bare = true },
		"truncated":         func(f *fakeDNS) { f.truncate = true },
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			server := startDNS(t)
			server.set("web.shop.skydns.local", want...)
			server.change(change)
			got, err := newTestResolver(server.addr).lookup(t.Context(), "web.shop.skydns.local")
			if err != nil || !reflect.DeepEqual(endpointsOf(got), want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestAnswersAreRememberedForAMoment(t *testing.T) {
	checkLeaks(t)
	server := startDNS(t)
	server.set("web.shop.skydns.local", backend.Endpoint{Addr: netip.MustParseAddrPort("192.0.2.1:80")})
	r := newTestResolver(server.addr)
	for range 10 {
		if _, err := r.lookup(t.Context(), "web.shop.skydns.local"); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.asked(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if _, err := r.refresh(t.Context(), "web.shop.skydns.local"); err != nil || server.asked() != 2 {
		t.Errorf("refresh: %v, asked %d times", err, server.asked())
	}
}

func TestNoAnswerIsAnError(t *testing.T) {
	checkLeaks(t)
	server := startDNS(t)
	server.change(func(f *fakeDNS) { f.rcode = dns.RcodeServerFailure })
	r := newTestResolver(server.addr)
	if _, err := r.lookup(t.Context(), "web.shop.skydns.local"); err == nil || !strings.Contains(err.Error(), "resolve web.shop.skydns.local: SERVFAIL") {
		t.Errorf("got %v", err)
	}
	if n := server.asked(); n != 2 {
		t.Errorf("asked %d times, want a second try", n)
	}
	server.change(func(f *fakeDNS) { f.rcode = dns.RcodeSuccess })
	if got, err := r.lookup(t.Context(), "web.shop.skydns.local"); err != nil || got.Len() != 0 {
		t.Errorf("a name that is not there: %v, %v", got, err)
	}
	unknown := errors.New("no address yet")
	r = newResolver(func() (string, error) { return "", unknown }, newMetrics(testEnv().Metrics).dnsErrors)
	if _, err := r.lookup(t.Context(), "web"); !errors.Is(err, unknown) {
		t.Errorf("got %v", err)
	}
}

func TestOldAnswersAreForgotten(t *testing.T) {
	r := newTestResolver("127.0.0.1:1")
	r.remember("web", []backend.Endpoint{{}}, time.Second)
	known := r.answers["web"]
	known.fresh, known.old = time.Now().Add(-maxAge), time.Now().Add(-time.Second)
	r.answers["web"] = known
	if _, err := r.lookup(t.Context(), "web"); err == nil {
		t.Error("an answer of more than an hour ago was used")
	}
	r.remember("other", nil, time.Second)
	if _, ok := r.answers["web"]; ok {
		t.Error("and is still kept")
	}
}
