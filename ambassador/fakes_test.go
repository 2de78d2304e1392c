package ambassador

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/docker"
)

const waitFor = 10 * time.Second

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
		time.Sleep(5 * time.Millisecond)
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
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// fakeEngine is a Docker Engine with the containers of a map.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]docker.Container
	hint       func(docker.Event)
	err        error
	lists      int
	gate       chan struct{} // if set, a listing made its result and waits here
}

func (f *fakeEngine) Running(ctx context.Context, _ string) ([]docker.Container, error) {
	f.mu.Lock()
	f.lists++
	var containers []docker.Container
	for _, c := range f.containers {
		containers = append(containers, c)
	}
	err, gate := f.err, f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return containers, err
}

func (f *fakeEngine) Watch(ctx context.Context, _ url.Values, hint func(docker.Event)) error {
	f.mu.Lock()
	f.hint = hint
	f.mu.Unlock()
	hint(docker.Event{Type: docker.Connected})
	<-ctx.Done()
	return ctx.Err()
}

// start runs a container without telling anybody.
func (f *fakeEngine) start(id, addr string, backends map[int]string) {
	names := make(map[string]string)
	for port, name := range backends {
		names[fmt.Sprint(port)] = name
	}
	label, err := json.Marshal(names)
	if err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.containers == nil {
		f.containers = make(map[string]docker.Container)
	}
	f.containers[id] = docker.Container{ID: id, Name: id,
		Labels: map[string]string{labelCluster: "c", labelBackends: string(label)},
		Addrs:  map[string]netip.Addr{network: netip.MustParseAddr(addr)}}
}

func (f *fakeEngine) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.containers, id)
}

func (f *fakeEngine) listings() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists
}

func (f *fakeEngine) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeEngine) tell(event docker.Event) {
	f.mu.Lock()
	hint := f.hint
	f.mu.Unlock()
	hint(event)
}

// fakeDNS is a name server on a free port.
type fakeDNS struct {
	addr    string
	servers []*dns.Server

	mu        sync.Mutex
	records   map[string][]endpoint
	rcode     int
	truncate  bool // over UDP
	bare      bool // without additional records
	silent    bool
	questions int
}

func startDNS(t *testing.T) *fakeDNS {
	t.Helper()
	f := &fakeDNS{records: make(map[string][]endpoint)}
	var packets net.PacketConn
	var listener net.Listener
	eventually(t, func() (err error) { // the UDP port may be another's TCP port
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			return err
		}
		f.addr = packets.LocalAddr().String()
		if listener, err = net.Listen("tcp", f.addr); err != nil {
			packets.Close()
		}
		return err
	})
	f.servers = []*dns.Server{{PacketConn: packets, Handler: f}, {Listener: listener, Handler: f}}
	var group sync.WaitGroup
	for _, server := range f.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		group.Go(func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		})
		<-started
	}
	t.Cleanup(func() {
		f.stop()
		group.Wait()
	})
	return f
}

func (f *fakeDNS) stop() {
	for _, server := range f.servers {
		_ = server.Shutdown() // the second call of a test errs
	}
}

func (f *fakeDNS) set(name string, endpoints ...endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records[dns.Fqdn(name)] = endpoints
}

func (f *fakeDNS) change(change func(f *fakeDNS)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeDNS) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.questions
}

// ServeDNS answers SRV questions from the records, and A questions for their targets.
func (f *fakeDNS) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.questions++
	if f.silent {
		return
	}
	reply := new(dns.Msg)
	reply.SetRcode(question, f.rcode)
	q := question.Question[0]
	endpoints, ok := f.records[q.Name]
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	switch {
	case f.rcode != dns.RcodeSuccess:
	case q.Qtype == dns.TypeA:
		reply.Answer = append(reply.Answer, addressRecord(q.Name))
	case !ok:
		reply.Rcode = dns.RcodeNameError
	case udp && f.truncate:
		reply.Truncated = true
	default:
		for _, e := range endpoints {
			target := strings.ReplaceAll(e.addr.Addr().String(), ".", "-") + ".Hosts.test."
			reply.Answer = append(reply.Answer, &dns.SRV{
				Hdr:      dns.RR_Header{Name: q.Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 5},
				Priority: e.priority, Weight: e.weight, Port: e.addr.Port(), Target: target,
			})
			if !f.bare {
				reply.Extra = append(reply.Extra, addressRecord(strings.ToLower(target)))
			}
		}
	}
	_ = w.WriteMsg(reply) // the other side may have gone
}

func addressRecord(name string) dns.RR {
	ip := strings.ReplaceAll(strings.SplitN(name, ".", 2)[0], "-", ".")
	return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.ParseIP(ip)}
}

// startBackend listens on a free port of addr and hands each connection to serve.
func startBackend(t *testing.T, addr string, serve func(*net.TCPConn)) endpoint {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	return endpoint{addr: listener.Addr().(*net.TCPAddr).AddrPort(), priority: 10, weight: 100}
}

// say is a backend that says who it is.
func say(text string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, text) // a client that left is the test's own
	}
}

// echo is a backend that sends back what it gets until the end.
func echo(conn *net.TCPConn) {
	if _, err := io.Copy(conn, conn); err == nil {
		_ = conn.CloseWrite() // likewise
	}
}

// closedPort is an endpoint that refuses connections: bound, so that nobody else gets it, but
// not listening.
func closedPort(t *testing.T) endpoint {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(socket) })
	loopback := [4]byte{127, 0, 0, 1}
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: loopback}); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(addr.(*unix.SockaddrInet4).Port)
	return endpoint{addr: netip.AddrPortFrom(netip.AddrFrom4(loopback), port), priority: 10, weight: 100}
}

// house is an ambassador with the world around it.
type house struct {
	*Ambassador
	t       *testing.T
	engine  *fakeEngine
	dns     *fakeDNS
	metrics *prometheus.Registry
	port    int // that it listens on
	stop    func()
}

func startHouse(t *testing.T, change func(*Settings)) *house {
	t.Helper()
	checkLeaks(t)
	h := &house{t: t, engine: &fakeEngine{}, dns: startDNS(t)}
	settings := Settings{ListenAddr: "127.0.0.1", DNSAddr: h.dns.addr, MaxConnections: 100, DrainTimeout: 5 * time.Second}
	if change != nil {
		change(&settings)
	}
	env := testEnv()
	h.metrics = env.Metrics
	h.Ambassador = newAmbassador(settings, env, h.engine)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(h.stop)
	eventually(t, h.Ready)
	eventually(t, func() error {
		if h.callers.isFollowing() {
			return nil
		}
		return errors.New("events are not followed")
	})
	h.port = int(h.Addrs()[0].Port())
	return h
}

func testEnv() daemon.Env {
	return daemon.Env{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry()}
}

// link runs a container at addr that may reach the endpoints as service "web".
func (h *house) link(addr string, endpoints ...endpoint) {
	h.t.Helper()
	h.dns.set("web.shop.skydns.local", endpoints...)
	h.engine.start("crawler", addr, map[int]string{h.port: "web.shop.skydns.local"})
	h.engine.tell(docker.Event{Type: "container", Action: "start", ID: "crawler"})
}

// dial connects to the ambassador from the address.
func (h *house) dial(from string) *net.TCPConn {
	h.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: waitFor}
	conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.port))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * waitFor)); err != nil {
		h.t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// ask connects from the address and reads all that comes.
func (h *house) ask(from string) (string, error) {
	h.t.Helper()
	conn := h.dial(from)
	defer conn.Close()
	text, err := io.ReadAll(conn)
	return string(text), err
}

func (h *house) wantAnswer(from, want string) {
	h.t.Helper()
	if got, err := h.ask(from); err != nil || got != want {
		h.t.Fatalf("from %s: got %q, %v; want %q", from, got, err, want)
	}
}

func (h *house) wantRefused(from, reason string) {
	h.t.Helper()
	before := h.refused(reason)
	got, err := h.ask(from)
	if err == nil || got != "" {
		h.t.Fatalf("from %s: got %q, %v; want a reset without a byte", from, got, err)
	}
	if after := h.refused(reason); after != before+1 {
		h.t.Errorf("refused %q %v times more, want 1", reason, after-before)
	}
}

// refused reads the metric.
func (h *house) refused(reason string) float64 {
	h.t.Helper()
	families, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if labels := metric.GetLabel(); len(labels) == 1 && labels[0].GetValue() == reason {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func (c *callers) isFollowing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.following
}

var errDocker = errors.New("docker is away")
