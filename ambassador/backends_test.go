package ambassador

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

// flapping is a backend that can be away for a while.
type flapping struct {
	t        *testing.T
	addr     string
	served   atomic.Int64
	listener net.Listener
	group    sync.WaitGroup
}

func startFlapping(t *testing.T) *flapping {
	f := &flapping{t: t, addr: "127.0.0.1:0"}
	f.up()
	f.addr = f.listener.Addr().String()
	t.Cleanup(f.down)
	return f
}

func (f *flapping) up() {
	f.t.Helper()
	var err error
	if f.listener, err = net.Listen("tcp", f.addr); err != nil {
		f.t.Fatal(err)
	}
	listener := f.listener
	f.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.served.Add(1)
			say("page")(conn.(*net.TCPConn))
			conn.Close()
		}
	})
}

func (f *flapping) down() {
	f.listener.Close()
	f.group.Wait()
}

// TestNobodySeesThatBackendsFlap has two of three backends come and go under a steady load.
func TestNobodySeesThatBackendsFlap(t *testing.T) {
	h := startHouse(t, nil)
	one, other := startFlapping(t), startFlapping(t)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", say("page")), at(t, one.addr), at(t, other.addr))
	var asking sync.RWMutex // a listener that closes would reset what waits in its queue
	var load sync.WaitGroup
	stop := make(chan struct{})
	var asked atomic.Int64
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				asking.RLock()
				got, err := h.ask("127.0.0.2")
				asking.RUnlock()
				if asked.Add(1); err != nil || got != "page" {
					t.Errorf("got %q, %v", got, err)
					return
				}
				time.Sleep(10 * time.Millisecond) // faster, and the kernel would drop some on loopback
			}
		})
	}
	for i := range 6 {
		f := []*flapping{one, other}[i%2]
		asking.Lock()
		f.down()
		asking.Unlock()
		time.Sleep(200 * time.Millisecond)
		f.up()
		before := f.served.Load()
		eventually(t, func() error {
			if f.served.Load() == before {
				return fmt.Errorf("%s is back and gets no connection", f.addr)
			}
			return nil
		})
	}
	close(stop)
	load.Wait()
	if n := asked.Load(); n < 200 {
		t.Errorf("only %d connections", n)
	}
}

// What was withdrawn gets no new connections, and keeps those that it has: when they are to end is for
// whoever withdrew it to say.
func TestAWithdrawnBackendKeepsItsConnections(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", startBackend(t, "127.0.0.1:0", echo))
	conn := h.dial("127.0.0.2")
	speakOn := func() {
		t.Helper()
		if err := speak(conn, "x"); err != nil {
			t.Fatal(err)
		}
	}
	speakOn()
	h.dns.set("web.shop.skydns.local", startBackend(t, "127.0.0.1:0", say("another")))
	eventually(t, func() error {
		other, err := h.tryDial("127.0.0.2")
		if err != nil {
			return err
		}
		defer other.Close()
		b := make([]byte, 7)
		_ = other.SetDeadline(time.Now().Add(100 * time.Millisecond)) // the first one says nothing by itself
		if _, err := io.ReadFull(other, b); err != nil || string(b) != "another" {
			return fmt.Errorf("got %q, %w", b, err)
		}
		return nil
	})
	speakOn()
	h.dns.set("web.shop.skydns.local")
	eventually(t, func() error {
		if pool, ok := h.names.Fresh("web.shop.skydns.local"); ok && pool.Len() > 0 {
			return errors.New("the other is still known")
		}
		return nil
	})
	time.Sleep(100 * time.Millisecond)
	speakOn()
}

func TestABackendMayHaveAnIPv6Address(t *testing.T) {
	h := startHouse(t, nil)
	h.link("127.0.0.2", startBackend(t, "[::1]:0", say("page")))
	h.wantAnswer("127.0.0.2", "page")
}

func TestFaultsOfThisHostAreNotTheBackends(t *testing.T) {
	dialled := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	for errno, want := range map[syscall.Errno]bool{syscall.EMFILE: true, syscall.EADDRNOTAVAIL: true, syscall.EPERM: true,
		syscall.ECONNREFUSED: false, syscall.ETIMEDOUT: false, syscall.EHOSTUNREACH: false} {
		if isOurs(dialled(errno)) != want {
			t.Errorf("%v: want %v", errno, want)
		}
	}
	if isOurs(context.DeadlineExceeded) || !isOurs(context.Canceled) {
		t.Error("an endpoint that does not answer is at fault, who gives up is not")
	}
}

// TestAStickyLinkLeadsToTheSameBackend has it come and go, and others join.
func TestAStickyLinkLeadsToTheSameBackend(t *testing.T) {
	h := startHouse(t, nil)
	var endpoints []backend.Endpoint
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		endpoints = append(endpoints, startBackend(t, "127.0.0.1:0", say(name)))
	}
	h.engine.label("crawler", "dokkaa.links", fmt.Sprintf(`{"%d": {"sticky": true}}`, h.port))
	h.link("127.0.0.2", endpoints[:3]...)
	home, err := h.ask("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		h.wantAnswer("127.0.0.2", home)
	}
	kernels := &shortcut{a: h.Ambassador}
	if _, err := (listedTo{h.engine, kernels}).Containers(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if all := kernels.Containers(); len(all) != 1 || len(all[0].Links) != 0 {
		t.Errorf("it is for the kernel, too: %+v", all)
	}
	h.dns.set("web.shop.skydns.local", endpoints...)
	h.wantKnown("web.shop.skydns.local", 6)
	for range 20 {
		h.wantAnswer("127.0.0.2", home)
	}
	i := int(home[0] - 'a')
	h.dns.set("web.shop.skydns.local", append(slices.Clone(endpoints[:i]), endpoints[i+1:]...)...)
	h.wantKnown("web.shop.skydns.local", 5)
	next, err := h.ask("127.0.0.2")
	if err != nil || next == home {
		t.Fatalf("after %s was withdrawn: %s, %v", home, next, err)
	}
	h.dns.set("web.shop.skydns.local", endpoints...)
	h.wantKnown("web.shop.skydns.local", 6)
	for range 20 {
		h.wantAnswer("127.0.0.2", next)
	}
}

// wantKnown waits until so many endpoints of the service are known.
func (h *house) wantKnown(name string, want int) {
	h.t.Helper()
	eventually(h.t, func() error {
		if pool, ok := h.names.Fresh(name); !ok || pool.Len() != want {
			return fmt.Errorf("%v, %v", pool, ok)
		}
		return nil
	})
}

// TestAChoiceIsMadeFromMemory holds what is done for every connection to little: it is done on the
// event loop.
func TestAChoiceIsMadeFromMemory(t *testing.T) {
	h := startHouse(t, nil)
	var endpoints []backend.Endpoint
	for i := range 100 {
		endpoints = append(endpoints, at(t, fmt.Sprintf("127.0.1.%d:80", i+1)))
	}
	h.dns.change(func(f *fakeDNS) { f.truncate = true }) // it does not fit
	h.link("127.0.0.2", endpoints...)
	if _, err := h.names.Lookup(t.Context(), "web.shop.skydns.local"); err != nil {
		t.Fatal(err)
	}
	source := netip.MustParseAddr("127.0.0.2")
	eventually(t, func() error {
		if h.callers.Known(source) == nil {
			return errors.New("the caller is not known")
		}
		return nil
	})
	began, lookups := time.Now(), 0
	const runs = 20000
	allocs := testing.AllocsPerRun(runs, func() {
		call := h.admit(source, h.port)
		if _, ok := call.Choose(); ok {
			call.Opened()
		} else {
			lookups++
		}
		call.End(nil)
	})
	t.Logf("%v allocations, %v", allocs, time.Since(began)/runs)
	if lookups > runs/2 { // a busy machine holds up who asks: this loop leaves it one processor
		t.Errorf("%d choices took a look-up", lookups)
	}
	if allocs > 3 { // the connection, its share of the source's, and with -race one more
		t.Errorf("%v allocations", allocs)
	}
}
