package ambassador

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/handover"
)

// bridge is an address that comes and goes.
type bridge struct {
	mu   sync.Mutex
	addr netip.Addr
}

func (b *bridge) get() ([]netip.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
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
