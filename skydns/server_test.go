package skydns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// recorder is a dns.ResponseWriter that keeps what was written.
type recorder struct {
	dns.ResponseWriter
	remote net.Addr
	wire   []byte
}

func (r *recorder) RemoteAddr() net.Addr { return r.remote }

func (r *recorder) Write(wire []byte) (int, error) {
	r.wire = bytes.Clone(wire)
	return len(wire), nil
}

func (r *recorder) reply(t testing.TB) *dns.Msg {
	t.Helper()
	reply := new(dns.Msg)
	if err := reply.Unpack(r.wire); err != nil {
		t.Fatalf("unpack reply: %v", err)
	}
	return reply
}

func TestUnknownRecordsAreNoAnswer(t *testing.T) {
	source := newFakeSource()
	config := testConfig()
	config.Nameservers = []netip.AddrPort{startUpstream(t, respond).addr}
	s := newServer(t, config, source)
	run(t, s)
	eventually(t, func() error {
		if len(s.Addrs()) == 0 {
			return errors.New("not listening")
		}
		return nil
	})
	addr := s.Addrs()[0].String()
	for _, qtype := range []uint16{dns.TypeSRV, dns.TypeA, dns.TypeTXT} {
		want(t, ask(t, addr, "web.shop.skydns.local.", qtype), dns.RcodeServerFailure, nil, nil)
	}
	want(t, ask(t, addr, "plain.ext.example.", dns.TypeA), dns.RcodeSuccess, []string{plain}, nil)
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "not listed yet") {
		t.Errorf("Ready: %v", err)
	}
	source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
	eventually(t, s.Ready)
	want(t, ask(t, addr, "a.skydns.local.", dns.TypeA), dns.RcodeSuccess, []string{"a.skydns.local. 3600 IN A 10.0.0.1"}, nil)
}

func TestChangesShowAtOnce(t *testing.T) {
	_, source, addr := serve(t, testConfig(), nil)
	for i := range 20 {
		host := fmt.Sprintf("10.0.0.%d", i)
		start := time.Now()
		source.set(map[string]string{"a": `{"host":"` + host + `"}`})
		eventually(t, func() error {
			if got := text(ask(t, addr, "a.skydns.local.", dns.TypeA).Answer); !strings.HasSuffix(got, " "+host) {
				return fmt.Errorf("answer is %q, want %s", got, host)
			}
			return nil
		})
		if took := time.Since(start); took > 300*time.Millisecond { // three times the bound
			t.Errorf("change %d took %s to show", i, took)
		}
	}
	source.set(nil)
	eventually(t, func() error {
		if rcode := ask(t, addr, "a.skydns.local.", dns.TypeA).Rcode; rcode != dns.RcodeNameError {
			return fmt.Errorf("removed name is answered with %s", dns.RcodeToString[rcode])
		}
		return nil
	})
}

func TestLastRecordsOutliveTheStore(t *testing.T) {
	s, source, addr := serve(t, testConfig(), shop)
	source.lose()
	eventually(t, func() error {
		if s.records.Load().known {
			return errors.New("loss not noticed")
		}
		return nil
	})
	want(t, ask(t, addr, "db.shop.skydns.local.", dns.TypeA), dns.RcodeSuccess, []string{"db.shop.skydns.local. 30 IN A 10.30.0.1"}, nil)
	if err := s.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	eventually(t, func() error {
		if s.snapshotAge() == 0 {
			return errors.New("age of the records is still 0")
		}
		return nil
	})
	source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
	eventually(t, func() error {
		if got := text(ask(t, addr, "a.skydns.local.", dns.TypeA).Answer); got == "" {
			return errors.New("not following again")
		}
		return nil
	})
	if s.snapshotAge() != 0 {
		t.Error("age of current records is not 0")
	}
}

func TestQueriesThatAreNotAnswered(t *testing.T) {
	config := testConfig()
	config.Nameservers = []netip.AddrPort{startUpstream(t, respond).addr}
	_, _, addr := serve(t, config, shop)
	for _, c := range []struct {
		title string
		query *dns.Msg
		edit  func(*dns.Msg)
		rcode int
	}{
		{"ANY", question("shop.skydns.local.", dns.TypeANY), nil, dns.RcodeRefused},
		{"foreign ANY", question("www.ext.example.", dns.TypeANY), nil, dns.RcodeRefused},
		{"zone transfer", question("skydns.local.", dns.TypeAXFR), nil, dns.RcodeRefused},
		{"notify", question("skydns.local.", dns.TypeSOA), func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, dns.RcodeNotImplemented},
		{"update", question("skydns.local.", dns.TypeSOA), func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		{"no question", new(dns.Msg), nil, dns.RcodeFormatError},
		{"two questions", question("a.skydns.local.", dns.TypeA), func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
	} {
		t.Run(c.title, func(t *testing.T) {
			if c.edit != nil {
				c.edit(c.query)
			}
			reply := exchange(t, "udp", addr, c.query)
			want(t, reply, c.rcode, nil, nil)
			if reply.Authoritative || reply.RecursionAvailable {
				t.Errorf("flags: %s", reply.MsgHdr.String())
			}
		})
	}
}

func TestBadRecordsAreLoggedOnce(t *testing.T) {
	var log lockedBuffer
	source := newFakeSource()
	s, err := New(testConfig(), source, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s.update()
	for range 3 {
		source.change(func(s *store.Snapshot) {
			*s = store.NewSnapshot(s.Index+1, storeNodes(map[string]string{"good": `{"host":"10.0.0.1"}`, "bad": "nonsense"}, 1)...)
		})
		s.update()
	}
	if n := strings.Count(log.String(), "/skydns/local/skydns/bad"); n != 1 {
		t.Errorf("the bad record is mentioned %d times:\n%s", n, log.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPanicCostsOneAnswer(t *testing.T) {
	s := newServer(t, testConfig(), newFakeSource())
	s.records.Store(&records{known: true}) // without a zone
	w := &recorder{remote: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}}
	s.ServeDNS(w, question("a.skydns.local.", dns.TypeA))
	want(t, w.reply(t), dns.RcodeServerFailure, nil, nil)
}

func TestQueriesInHandAreAnsweredAtTheEnd(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	upstream := startUpstream(t, func(w dns.ResponseWriter, query *dns.Msg) {
		close(arrived)
		<-release
		respond(w, query)
	})
	config := testConfig()
	config.Timeout = 5 * time.Second
	config.Nameservers = []netip.AddrPort{upstream.addr}
	source := newFakeSource()
	source.set(nil)
	s := newServer(t, config, source)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	eventually(t, s.Ready)
	addr := s.Addrs()[0].String()

	answered := make(chan *dns.Msg, 1)
	go func() {
		client := dns.Client{Timeout: 10 * time.Second}
		reply, _, err := client.Exchange(question("plain.ext.example.", dns.TypeA), addr)
		if err != nil {
			t.Errorf("query in hand: %v", err)
			reply = new(dns.Msg)
		}
		answered <- reply
	}()
	<-arrived
	cancel()
	eventually(t, func() error { // nobody new is listened to
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return nil
		}
		return errors.Join(errors.New("still listening"), conn.Close())
	})
	close(release)
	want(t, <-answered, dns.RcodeSuccess, []string{plain}, nil)
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	config := testConfig()
	config.Nameservers = []netip.AddrPort{startUpstream(t, respond).addr}
	source := newFakeSource()
	source.set(map[string]string{"a": `{"host":"10.0.0.1"}`, "b": `{"host":"10.0.0.2"}`})
	registry := prometheus.NewRegistry()
	s, err := New(config, source, discardLog(), registry)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	eventually(t, s.Ready)
	addr := s.Addrs()[0].String()
	for _, q := range []*dns.Msg{
		question("a.skydns.local.", dns.TypeSRV), question("nope.skydns.local.", dns.TypeA),
		question("nope.skydns.local.", 65280), question("plain.ext.example.", dns.TypeA),
	} {
		exchange(t, "udp", addr, q)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`skydns_requests_total{rcode="NOERROR",type="SRV"} 1`,
		`skydns_requests_total{rcode="NXDOMAIN",type="A"} 1`,
		`skydns_requests_total{rcode="NXDOMAIN",type="other"} 1`,
		`skydns_requests_total{rcode="NOERROR",type="A"} 1`,
		`skydns_forward_duration_seconds_count{result="answered"} 1`,
		`skydns_foreign_queries_total{from="asked"} 1`,
		`skydns_skydns_dns_request_count_total{system="auth"} 3`,
		`skydns_skydns_dns_request_count_total{system="recursive"} 1`,
		`skydns_skydns_dns_request_duration_seconds_count{system="auth"} 3`,
		`skydns_skydns_dns_response_size_bytes_bucket{system="recursive",le="512"} 1`,
		`skydns_skydns_dns_error_count_total{cause="nxdomain",system="auth"} 2`,
		`skydns_skydns_dns_cachemiss_count_total{cache="response"} 1`,
		`skydns_records 2`,
		`skydns_snapshot_age_seconds 0`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("metrics lack %s:\n%s", line, w.Body)
		}
	}
}
