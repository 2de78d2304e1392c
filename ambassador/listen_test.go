package ambassador

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/handover"
)

// bridge is an address that comes and goes.
type bridge struct {
	mu      sync.Mutex
	addr    netip.Addr
	failure error // to read it
	reads   int
}

func (b *bridge) get() ([]netip.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	if b.failure != nil {
		return nil, b.failure
	}
	if !b.addr.IsValid() {
		return nil, errors.New("no bridge")
	}
	return []netip.Addr{b.addr}, nil
}

func (b *bridge) set(addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addr = netip.Addr{}
	if addr != "" {
		b.addr = netip.MustParseAddr(addr)
	}
}

// startListeners listens at the ports of the bridge that are wanted.
func startListeners(t *testing.T, ports PortRange, b *bridge, wanted func() map[int]string) *listeners {
	t.Helper()
	carry := func(conn *net.UDPConn) func() {
		return func() { conn.Close() }
	}
	accept := func(listener *net.TCPListener) (func(), error) {
		return func() { listener.Close() }, nil
	}
	env := testEnv()
	l := newListeners(ports, b.get, wanted, accept, carry, newMetrics(env.Metrics), env.Log)
	l.grace = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	l.Serve(ctx, nil)
	group.Go(func() { l.run(ctx) })
	t.Cleanup(func() {
		cancel()
		group.Wait()
		l.close()
	})
	return l
}

func TestTheListenersFollowTheAddress(t *testing.T) {
	checkLeaks(t)
	b := &bridge{}
	l := startListeners(t, PortRange{}, b, func() map[int]string { return map[int]string{0: "any"} })
	reached := func(addr netip.AddrPort) error {
		conn, err := net.DialTimeout("tcp", addr.String(), time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := l.ready(); err == nil {
		t.Fatal("ready without an address")
	}
	var before netip.AddrPort
	for _, addr := range []string{"127.0.0.11", "127.0.0.12", "127.0.0.12"} {
		b.set(addr)
		eventually(t, func() error {
			if err := l.ready(); err != nil {
				return err
			}
			if l.address().String() != addr {
				return fmt.Errorf("listens on %s", l.address())
			}
			return reached(l.addresses(handover.TCP)[0])
		})
		if before.IsValid() && before.Addr().String() != addr && reached(before) == nil {
			t.Errorf("%s is still listened on", before)
		}
		before = l.addresses(handover.TCP)[0]
	}
	b.set("")
	eventually(t, func() error {
		if err := l.ready(); err == nil || !strings.Contains(err.Error(), "no bridge") {
			return fmt.Errorf("ready: %w", err)
		}
		return nil
	})
	if l.address().IsValid() || reached(before) == nil {
		t.Error("listens without the address")
	}
}

func TestATakenPortHoldsUpNoOther(t *testing.T) {
	checkLeaks(t)
	taken, err := net.Listen("tcp", "127.0.0.13:0")
	if err != nil {
		t.Fatal(err)
	}
	port := taken.Addr().(*net.TCPAddr).Port
	ports := PortRange{From: port - 1, To: port + 1}
	b := &bridge{}
	b.set("127.0.0.13")
	l := startListeners(t, ports, b, func() map[int]string { return map[int]string{port - 1: "a", port: "b", port + 1: "c"} })
	eventually(t, func() error {
		if err := l.ready(); err == nil || !strings.Contains(err.Error(), "in use") || len(l.addresses(handover.TCP)) != 2 {
			return fmt.Errorf("ready: %v, listens on %v", err, l.addresses(handover.TCP))
		}
		return nil
	})
	taken.Close()
	eventually(t, func() error { return l.ready() })
	if len(l.addresses(handover.TCP)) != 3 {
		t.Errorf("listens on %v", l.addresses(handover.TCP))
	}
}

// wishes are the ports that links name.
type wishes struct {
	mu    sync.Mutex
	ports map[int]string
}

func (w *wishes) get() map[int]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ports
}

func (w *wishes) set(ports ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports = make(map[int]string)
	for _, port := range ports {
		w.ports[port] = "shop---crawler"
	}
}

func TestAddressesThatCannotBeReadAreNotLeft(t *testing.T) {
	checkLeaks(t)
	port := reservePort(t)
	b := &bridge{}
	b.set("127.0.0.1")
	l := startListeners(t, PortRange{From: port, To: port}, b, func() map[int]string { return map[int]string{port: "any"} })
	eventually(t, l.ready)
	want := l.addresses(handover.TCP)
	b.mu.Lock()
	b.failure, b.reads = fmt.Errorf("find interface dokkaa: %w", os.NewSyscallError("netlinkrib", syscall.EMFILE)), 0
	b.mu.Unlock()
	eventually(t, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.reads < 2 {
			return errors.New("it does not look")
		}
		return nil
	})
	if got := l.addresses(handover.TCP); !slices.Equal(got, want) {
		t.Errorf("listens on %v, not on %v", got, want)
	}
	if err := l.ready(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("says %v", err)
	}
}

func TestPortsAreOpenWhileLinksNameThem(t *testing.T) {
	checkLeaks(t)
	port := reservePort(t)
	b, wanted := &bridge{}, &wishes{}
	b.set("127.0.0.1")
	l := startListeners(t, PortRange{From: port, To: port}, b, wanted.get)
	eventually(t, l.ready) // with no link at all
	if addrs := l.addresses(handover.TCP); len(addrs) > 0 {
		t.Errorf("listens on %v", addrs)
	}
	open := func(want bool) func() error {
		return func() error {
			if got := len(l.addresses(handover.TCP)) > 0; got != want {
				return fmt.Errorf("open: %v, want %v", got, want)
			}
			return nil
		}
	}
	wanted.set(port)
	start := time.Now()
	l.poke()
	eventually(t, open(true))
	if took := time.Since(start); took >= lookEvery/2 {
		t.Errorf("opened after %v", took)
	}
	// A container that is restarted does not close it.
	wanted.set()
	l.poke()
	time.Sleep(l.grace / 4)
	if err := open(true)(); err != nil {
		t.Error(err)
	}
	wanted.set(port)
	l.poke()
	time.Sleep(2 * l.grace)
	if err := open(true)(); err != nil {
		t.Error(err)
	}
	wanted.set()
	eventually(t, open(false))
	if err := l.ready(); err != nil {
		t.Error(err)
	}
}

func TestALinkOutsideOfTheRangeIsSaidAloud(t *testing.T) {
	checkLeaks(t)
	port := reservePort(t)
	var log logBuffer
	b, wanted := &bridge{}, &wishes{}
	b.set("127.0.0.1")
	wanted.set(port, port+1)
	l := startListeners(t, PortRange{From: port, To: port}, b, wanted.get)
	l.work.Lock()
	l.log = slog.New(slog.NewTextHandler(&log, nil))
	l.outside = nil
	l.work.Unlock()
	l.poke()
	eventually(t, func() error {
		if want := fmt.Sprintf("port=%d", port+1); !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "container=shop---crawler") {
			return fmt.Errorf("no %s in %q", want, log.String())
		}
		return l.ready() // it hurts nobody else
	})
	if addrs := l.addresses(handover.TCP); len(addrs) != 1 || int(addrs[0].Port()) != port {
		t.Errorf("listens on %v", addrs)
	}
}

func TestChooseAddrs(t *testing.T) {
	for _, test := range []struct{ listed, want string }{
		{"", "[]"},
		{"fe80::1/64", "[]"},
		{"172.30.0.1/16 172.30.0.9/16", "[172.30.0.1]"},
		{"fe80::1/64 fd00:30::1/64 172.30.0.1/16", "[172.30.0.1 fd00:30::1]"},
		{"fd00:30::1/64", "[fd00:30::1]"},
	} {
		var listed []net.Addr
		for _, text := range strings.Fields(test.listed) {
			ip, prefix, err := net.ParseCIDR(text)
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, &net.IPNet{IP: ip, Mask: prefix.Mask})
		}
		if got := fmt.Sprint(chooseAddrs(listed)); got != test.want {
			t.Errorf("%q: %s, want %s", test.listed, got, test.want)
		}
	}
}

func TestOldAndNewRunSideBySide(t *testing.T) {
	checkLeaks(t)
	first, err := listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := listen(t.Context(), first.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

func TestInterfaceAddrs(t *testing.T) {
	if addrs, err := interfaceAddrs("lo"); err != nil || addrs[0].String() != "127.0.0.1" {
		t.Errorf("lo: %v, %v", addrs, err)
	}
	if _, err := interfaceAddrs("dokkaa-absent"); err == nil || !strings.Contains(err.Error(), "dokkaa-absent") {
		t.Errorf("got %v", err)
	}
}
