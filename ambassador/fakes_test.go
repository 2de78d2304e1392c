package ambassador

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/ambassador/backend"
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
	labels     map[string]map[string]string // beside those that all have, by container
	hint       func(docker.Event)
	err        error
	lists      int
	gate       chan struct{} // if set, a listing made its result and waits here
}

func (f *fakeEngine) Containers(ctx context.Context, _ string) ([]docker.Container, error) {
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

func (f *fakeEngine) AddressNow(_ context.Context, id, network string) (netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if addrs := f.containers[id].Addrs[network]; len(addrs) > 0 && f.err == nil {
		return addrs[0], nil
	}
	return netip.Addr{}, fmt.Errorf("container %s does not run: %w", id, f.err)
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
	f.put(id, "running", map[string][]netip.Addr{"dokkaa": {netip.MustParseAddr(addr)}}, backends)
}

// label gives the container another label when it is made.
func (f *fakeEngine) label(id, name, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.labels == nil {
		f.labels = make(map[string]map[string]string)
	}
	f.labels[id] = map[string]string{name: value}
}

// create makes a container that does not run.
func (f *fakeEngine) create(id string, backends map[int]string) { f.put(id, "created", nil, backends) }

func (f *fakeEngine) put(id, state string, addrs map[string][]netip.Addr, backends map[int]string) {
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
	f.containers[id] = docker.Container{ID: id, Name: id, State: state, Addrs: addrs,
		Labels: map[string]string{"dokkaa.cluster": "c", "dokkaa.backends": string(label)}}
	maps.Copy(f.containers[id].Labels, f.labels[id])
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

// startBackend listens on a free port of addr and hands each connection to serve.
func startBackend(t *testing.T, addr string, serve func(*net.TCPConn)) backend.Endpoint {
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
	return backend.Endpoint{Addr: listener.Addr().(*net.TCPAddr).AddrPort(), Priority: 10, Weight: 100}
}

// at is the endpoint at the address.
func at(t *testing.T, addr string) backend.Endpoint {
	t.Helper()
	parsed, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return backend.Endpoint{Addr: parsed, Priority: 10, Weight: 100}
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
func closedPort(t *testing.T) backend.Endpoint {
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
	return backend.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4(loopback), port), Priority: 10, Weight: 100}
}

// abort closes the connection by a reset.
func abort(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // fails only on a connection that is gone
	_ = conn.Close()
}
