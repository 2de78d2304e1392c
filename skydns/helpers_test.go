package skydns

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/limit"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// fakeSource is a Source whose content the test sets.
type fakeSource struct {
	hint chan struct{}

	mu       sync.Mutex
	snapshot store.Snapshot
}

func newFakeSource() *fakeSource {
	return &fakeSource{hint: make(chan struct{}, 1), snapshot: store.Snapshot{Err: errors.New("not listed yet")}}
}

func (f *fakeSource) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (f *fakeSource) Hint() <-chan struct{}         { return f.hint }

func (f *fakeSource) Snapshot() store.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshot
}

func (f *fakeSource) Changed(since, until store.Snapshot) (keys []string, all bool) {
	if !since.Listed {
		return nil, true
	}
	for n := range since.All("/") {
		if now, there := until.Get(n.Key); !there || now != n {
			keys = append(keys, n.Key)
		}
	}
	for n := range until.All("/") {
		if _, there := since.Get(n.Key); !there {
			keys = append(keys, n.Key)
		}
	}
	return keys, false
}

// change applies edit to the snapshot and gives a hint.
func (f *fakeSource) change(edit func(*store.Snapshot)) {
	f.mu.Lock()
	edit(&f.snapshot)
	f.mu.Unlock()
	select {
	case f.hint <- struct{}{}:
	default:
	}
}

// set makes the records below /skydns/local/skydns/ those of values, all written just now.
func (f *fakeSource) set(values map[string]string) {
	f.change(func(s *store.Snapshot) { *s = store.NewSnapshot(s.Index+1, storeNodes(values, s.Index+1)...) })
}

func (f *fakeSource) lose() {
	f.change(func(s *store.Snapshot) { s.Known, s.Err = false, errors.New("etcd is away") })
}

func storeNodes(values map[string]string, modified uint64) []store.Node {
	var list []store.Node
	for key, value := range values {
		list = append(list, store.Node{Key: "/skydns/local/skydns/" + key, Value: value, Modified: modified})
	}
	return list
}

func testConfig() Config {
	return Config{
		Answer: answer.Config{
			Domain:     "skydns.local.",
			Hostmaster: "hostmaster.skydns.local.",
			Version:    "test",
			TTL:        3600,
			MinTTL:     60,
			OutsideTTL: 60,
			Priority:   10,
			MinLabels:  2,
			Shuffle:    true,
		},
		PathPrefix: "skydns",
		Listen:     []Endpoint{{Addr: netip.MustParseAddr("127.0.0.1")}},
		Timeout:    300 * time.Millisecond,
		MaxStale:   24 * time.Hour,
		Recursion:  neighbours(),

		MetricsNamespace: "skydns", MetricsSubsystem: "skydns",
	}
}

// neighbours are loopback and private networks.
func neighbours() limit.Networks {
	networks, err := limit.ParseNetworks([]string{"127.0.0.0/8", "::1", "10.0.0.0/8"})
	if err != nil {
		panic(err)
	}
	return networks
}

func discardLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newServer(t testing.TB, config Config, source Source) *Server {
	t.Helper()
	s, err := New(config, source, discardLog(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs the server until the test ends, or the returned function is called.
func run(t testing.TB, s *Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// eventually waits until check returns nil, for at most ten seconds.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// serve runs a server of the records, and returns it and its address when it is ready.
func serve(t testing.TB, config Config, values map[string]string) (*Server, *fakeSource, string) {
	t.Helper()
	source := newFakeSource()
	source.set(values)
	s := newServer(t, config, source)
	run(t, s)
	eventually(t, s.Ready)
	return s, source, s.Addrs()[0].String()
}

func question(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }

func exchange(t testing.TB, network, addr string, query *dns.Msg) *dns.Msg {
	t.Helper()
	client := dns.Client{Net: network, Timeout: 5 * time.Second, UDPSize: dns.MaxMsgSize}
	reply, _, err := client.Exchange(query, addr)
	if err != nil {
		t.Fatalf("ask %s for %s: %v", addr, questionOf(query), err)
	}
	return reply
}

func ask(t testing.TB, addr, name string, qtype uint16) *dns.Msg {
	t.Helper()
	return exchange(t, "udp", addr, question(name, qtype))
}

// text is the records, sorted, each on a line with single spaces; OPT is left out.
func text(records []dns.RR) string {
	var lines []string
	for _, rr := range records {
		if rr.Header().Rrtype != dns.TypeOPT {
			lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// want checks a reply's code, answers and additional records, given as text gives them.
func want(t testing.TB, reply *dns.Msg, rcode int, answer, extra []string) {
	t.Helper()
	if reply.Rcode != rcode {
		t.Errorf("%s: rcode %s, want %s", questionOf(reply), dns.RcodeToString[reply.Rcode], dns.RcodeToString[rcode])
	}
	slices.Sort(answer)
	slices.Sort(extra)
	if got := text(reply.Answer); got != strings.Join(answer, "\n") {
		t.Errorf("%s: answer\n%s\nwant\n%s", questionOf(reply), got, strings.Join(answer, "\n"))
	}
	if got := text(reply.Extra); got != strings.Join(extra, "\n") {
		t.Errorf("%s: additional\n%s\nwant\n%s", questionOf(reply), got, strings.Join(extra, "\n"))
	}
}
