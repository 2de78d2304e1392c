package ambassador

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/ambassador/backend"
	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/docker"
)

// relayVariable says which relay the tests use.
const relayVariable = "AMBASSADOR_RELAY"

// notOfTheRelay are the tests of what the relay has no part in: it carries connections.
const notOfTheRelay = "Datagram|Flow|UDP|NameServer|WaitingForAnEndpoint|Account|NoSuchService|ListenersFollow|CannotBeRead|Port"

// TestTheSimpleRelayDoesTheSame runs the tests of the package with the form of the relay that other
// systems have.
func TestTheSimpleRelayDoesTheSame(t *testing.T) {
	if os.Getenv(relayVariable) != "" {
		return // this is that run
	}
	t.Parallel() // it waits for timeouts more than it works
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=5m", "-test.skip="+notOfTheRelay)
	command.Env = append(os.Environ(), relayVariable+"="+plainRelay)
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
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
	h := &house{t: t, engine: &fakeEngine{}, dns: startDNS(t), port: reservePort(t)}
	h.engine.create("later", map[int]string{h.port: "web.shop.skydns.local"}) // so that the port is open
	settings := Settings{ListenAddr: "127.0.0.1", PortRange: PortRange{h.port, h.port}, DNSAddr: h.dns.addr, MaxConnections: 300, MaxConnectionsPerContainer: 300,
		MaxFlows: 300, MaxFlowsPerContainer: 300, UDPTimeout: time.Minute, DrainTimeout: 5 * time.Second, MaxStale: time.Hour, Relay: os.Getenv(relayVariable)}
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
		if h.callers.Following() && len(h.Addrs()) > 0 {
			return nil
		}
		return errors.New("events are not followed, or the port is not open")
	})
	return h
}

func testEnv() daemon.Env {
	return daemon.Env{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry()}
}

// link runs a container at addr that may reach the endpoints as service "web".
func (h *house) link(addr string, endpoints ...backend.Endpoint) {
	h.t.Helper()
	h.dns.set("web.shop.skydns.local", endpoints...)
	h.engine.start("crawler", addr, map[int]string{h.port: "web.shop.skydns.local"})
	h.engine.tell(docker.Event{Type: "container", Action: "start", ID: "crawler"})
}

// tryDial connects to the ambassador from the address. A refusal may show here already: a
// reset can overtake the end of connect(2).
func (h *house) tryDial(from string) (*net.TCPConn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: waitFor}
	conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.port))
	if err != nil {
		return nil, err
	}
	h.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn), conn.SetDeadline(time.Now().Add(2 * waitFor))
}

// dial is tryDial for a connection that is not refused.
func (h *house) dial(from string) *net.TCPConn {
	h.t.Helper()
	conn, err := h.tryDial(from)
	if err != nil {
		h.t.Fatal(err)
	}
	return conn
}

// ask connects from the address and reads all that comes.
func (h *house) ask(from string) (string, error) {
	conn, err := h.tryDial(from)
	if err != nil {
		return "", err
	}
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

// reservePort returns a port that only those get who would share it, until the test ends.
func reservePort(t *testing.T) int {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(socket) })
	err = errors.Join(unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return addr.(*unix.SockaddrInet4).Port
}

var errDocker = errors.New("docker is away")
