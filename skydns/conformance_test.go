package skydns

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// What SkyDNS 2 answers, and where it does better: the whole server against a real etcd.
func TestConformance(t *testing.T) {
	etcd := etcdtest.Start(t, 1).Endpoints()[0]
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	n := 0
	for _, file := range files {
		for _, s := range readScenarios(t, file) {
			n++
			directory := fmt.Sprintf("c%d", n)
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				startStage(t, s, etcd, directory).play(s)
			})
		}
	}
}

// stage is where one scenario plays: a server with a directory of etcd, nameservers and a
// connection of its own.
type stage struct {
	t      *testing.T
	root   string // of the scenario's keys
	keys   *store.Store
	line   *line // to etcd
	ports  *strings.Replacer
	server *configured
}

func startStage(t *testing.T, s *scenario, etcd, directory string) *stage {
	t.Helper()
	keys, err := store.New(store.Options{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	upstream := startUpstream(t, newFakeZone(t, "testdata/upstream.zone", false).ServeDNS).addr
	stub := startUpstream(t, newFakeZone(t, "testdata/stub.zone", true).ServeDNS).addr
	dead := closedPort(t)
	g := &stage{
		t: t, root: "/" + directory, keys: keys, line: startLine(t, strings.TrimPrefix(etcd, "http://")),
		ports: strings.NewReplacer("$STUB", strconv.Itoa(int(stub.Port())), "$DEAD", strconv.Itoa(int(dead.Port()))),
	}
	prefix := "skydns"
	if p := s.setup["prefix"]; p != nil {
		prefix = p[0]
	}
	if s.config != "" {
		g.put("/"+prefix+"/config", s.config, 0)
	}
	address := func(roles []string, up string, scheme string) string {
		var addrs []string
		for _, role := range append(roles, "up")[:max(1, len(roles))] {
			switch role {
			case "dead":
				addrs = append(addrs, scheme+dead.String())
			case "proxy", "hang":
				addrs = append(addrs, scheme+g.line.addr())
			default:
				addrs = append(addrs, up)
			}
			if role == "hang" {
				g.line.set(hanging)
			}
		}
		return strings.Join(addrs, ",")
	}
	args := append([]string{
		"--addr=127.0.0.1:0", "--path-prefix=" + directory + "/" + prefix,
		"--nameservers=" + address(s.setup["nameservers"], upstream.String(), ""),
		"--machines=" + address(s.setup["etcd"], etcd, "http://"),
	}, s.setup["args"]...)
	g.start(args)
	if etcd := s.setup["etcd"]; etcd == nil || etcd[len(etcd)-1] == "up" || etcd[0] == "proxy" {
		eventually(t, g.server.Ready)
	}
	return g
}

// start runs the server until the test ends. It is up when it listens: etcd may be away.
func (g *stage) start(args []string) {
	g.t.Helper()
	var settings Settings
	parser, err := kong.New(&settings, kong.Vars{"http_addr": "127.0.0.1:0", "version": "test"})
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := parser.Parse(daemon.DoubleDashes(args)); err != nil {
		g.t.Fatal(err)
	}
	d, err := NewDaemon(&settings, daemon.Env{Log: discardLog(), Metrics: prometheus.NewRegistry()})
	if err != nil {
		g.t.Fatal(err)
	}
	g.server = d.(*configured)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Errorf("Run: %v", err)
		}
	})
	eventually(g.t, func() error {
		if s := g.server.server.Load(); s == nil || len(s.Addrs()) == 0 {
			return errors.New("not listening")
		}
		return nil
	})
}

func (g *stage) play(s *scenario) {
	for _, step := range s.steps {
		switch step.verb {
		case "put":
			g.putAll(&step)
		case "delete":
			g.settle(g.delete(step.fields[0]))
		case "cut":
			g.line.set(cut)
		case "hang":
			g.line.set(hanging)
		case "mend":
			g.line.set(whole)
		case "wait":
			d, err := time.ParseDuration(step.fields[0])
			if err != nil {
				g.t.Fatal(err)
			}
			time.Sleep(d)
		case "ask":
			g.ask(&step)
		case "send":
			g.send(step.fields[0])
		}
	}
}

func (g *stage) putAll(s *step) {
	rest, ttl := s.rest, time.Duration(0)
	if seconds := s.number("ttl", 0); seconds > 0 {
		ttl = time.Duration(seconds) * time.Second
		_, rest, _ = strings.Cut(rest, " ")
	}
	first, last := 0, 0
	if n, err := fmt.Sscanf(rest, "%d..%d ", &first, &last); err == nil && n == 2 {
		_, rest, _ = strings.Cut(rest, " ")
	}
	var index uint64
	for i := first; i <= last; i++ {
		line := rest
		if last > 0 {
			line = strings.ReplaceAll(line, "#", strconv.Itoa(i))
		}
		key, value, _ := strings.Cut(line, " ")
		value = g.ports.Replace(value)
		if text, err := strconv.Unquote(value); err == nil {
			value = text
		}
		index = g.put(key, value, ttl)
	}
	if !strings.Contains(rest, "/_") { // of which the server learns only when it is asked
		g.settle(index)
	}
}

func (g *stage) put(key, value string, ttl time.Duration) uint64 {
	g.t.Helper()
	node, err := g.keys.Set(g.t.Context(), g.root+key, value, ttl)
	if err != nil {
		g.t.Fatal(err)
	}
	return node.Modified
}

// delete removes a key or all that is below it, and returns the index of the last write.
func (g *stage) delete(key string) (index uint64) {
	g.t.Helper()
	listing, err := g.keys.List(g.t.Context(), g.root+key)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.keys.DeleteDir(g.t.Context(), g.root+key); err != nil {
		g.t.Fatal(err)
	}
	return listing.Index + 1
}

// settle waits until the server knows the store as of the index.
func (g *stage) settle(index uint64) {
	g.t.Helper()
	eventually(g.t, func() error {
		r := g.server.server.Load().records.Load()
		if r == nil || r.snapshot.Index < index {
			return fmt.Errorf("index %d has not come", index)
		}
		return nil
	})
}

// addr is where the server listens, empty while one with other settings takes its place.
func (g *stage) addr() string {
	if addrs := g.server.server.Load().Addrs(); len(addrs) > 0 {
		return addrs[0].String()
	}
	return ""
}

// patience is less than that of clients.
const patience = 4500 * time.Millisecond

func (g *stage) ask(s *step) {
	g.t.Helper()
	first := map[string]bool{}
	for range s.number("times", 1) {
		client := dns.Client{Timeout: patience, UDPSize: dns.MaxMsgSize}
		for _, f := range s.fields {
			if f == "tcp" {
				client.Net = "tcp"
			}
		}
		reply, _, err := client.Exchange(s.query(), g.addr())
		if err != nil {
			g.t.Fatalf("ask %s: %v", s.rest, err)
		}
		wire, err := reply.Pack()
		if err != nil {
			g.t.Fatalf("ask %s: %v", s.rest, err)
		}
		if got := reply.Question[0].Name; got != s.fields[0] {
			g.t.Errorf("ask %s: the question came back as %s", s.rest, got)
		}
		reply.Compress = true
		if diffs := s.differences(reply, min(len(wire), reply.Len())); len(diffs) > 0 {
			g.t.Fatalf("ask %s: %s", s.rest, strings.Join(diffs, "; "))
		}
		if len(reply.Answer) > 0 {
			first[reply.Answer[0].String()] = true
		}
	}
	if want := s.number("first", 1); len(first) < want && len(s.rrs["answer"]) > 0 {
		g.t.Errorf("ask %s: %d records came first at times, want %d", s.rest, len(first), want)
	}
}

// send sends a packet whose reply does not matter.
func (g *stage) send(packet string) {
	g.t.Helper()
	wire, err := hex.DecodeString(packet)
	if err != nil {
		g.t.Fatal(err)
	}
	conn, err := net.Dial("udp", g.addr())
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := conn.Write(wire); err != nil {
		g.t.Error(err)
	}
	if err := conn.Close(); err != nil {
		g.t.Error(err)
	}
}
