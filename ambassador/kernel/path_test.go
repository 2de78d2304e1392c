//go:build linux

package kernel

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeSource is an ambassador.
type fakeSource struct {
	mu         sync.Mutex
	away       bool // another serves
	containers []Container
	services   map[string]Service
	docker     map[string]netip.Addr // what Docker says, by ID
	failed     []Instance
	carried    Traffic
	open       int
}

func (f *fakeSource) Gateway() (netip.Addr, bool) { return netip.MustParseAddr(gateway), !f.away }
func (f *fakeSource) Containers() []Container     { return f.containers }

func (f *fakeSource) Service(_ context.Context, name string) Service {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.services[name]
}

func (f *fakeSource) Address(_ context.Context, id string) (netip.Addr, error) {
	if addr, ok := f.docker[id]; ok {
		return addr, nil
	}
	return netip.Addr{}, errors.New("no such container")
}

func (f *fakeSource) Failed(i Instance) { f.failed = append(f.failed, i) }

func (f *fakeSource) Carried(_ Instance, more Traffic, open int) {
	f.carried.Opened += more.Opened
	f.carried.Up += more.Up
	f.carried.Down += more.Down
	f.open = open
}

// route is a world with a path, and a caller that is linked to an instance.
type route struct {
	*world
	*fakeSource
	path         *Path
	caller, shop *container
	now          time.Time
}

func newRoute(t *testing.T) *route {
	r := &route{world: newWorld(t), fakeSource: &fakeSource{docker: make(map[string]netip.Addr)}, now: time.Now()}
	r.world.caller(r.container("172.30.0.9"), "") // somebody else
	r.caller, r.shop = r.container("172.30.0.2"), r.instance("172.30.0.4", "shop")
	r.world.port(r.caller)
	r.add("caller", r.caller, map[uint16]string{dialled: "shop"}, nil)
	r.add("shop", r.shop, nil, map[netip.AddrPort]uint16{r.shop.announced(): inside})
	r.services = map[string]Service{"shop": serviceOf(r.shop)}
	r.path = NewPath(Settings{Bridge: "dokkaa", Ports: [2]uint16{10000, 10100}, Limit: 1000}, r.fakeSource,
		slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(func() { r.mustIn(func() error { r.path.rest(); return nil }) })
	return r
}

func (r *route) add(id string, c *container, links map[uint16]string, published map[netip.AddrPort]uint16) {
	r.containers = append(r.containers, Container{ID: id, Addr: c.addr, Links: links, Published: published})
	r.docker[id] = c.addr
}

// round has the path do everything once, so much later.
func (r *route) round(later time.Duration) {
	r.now = r.now.Add(later)
	r.mustIn(func() error {
		r.path.portsRead = time.Time{}
		r.path.bind(r.t.Context())
		r.path.ask(r.t.Context())
		r.path.pass(r.now)
		return nil
	})
}

func TestPathFollowsWhatIsKnown(t *testing.T) {
	r := newRoute(t)
	r.expect(r.caller, listener)
	r.round(0)
	if err := r.path.Ready(); err != nil {
		t.Fatal(err)
	}
	r.expect(r.caller, "shop")
	if s := r.path.Status(); len(s.Services) != 1 || s.Links != 1 || s.Callers != 2 || s.Error != "" {
		t.Errorf("status %+v", s)
	}
	r.round(time.Second)
	if r.carried.Opened != 1 || r.carried.Up == 0 || r.carried.Down == 0 {
		t.Errorf("carried %+v", r.carried)
	}
	r.services["shop"] = Service{}
	r.round(100 * time.Millisecond)
	r.expect(r.caller, listener)
	if s := r.path.Status(); s.Not["shop"] != WhyNone {
		t.Errorf("status %+v", s)
	}
	r.services["shop"] = serviceOf(r.shop)
	r.round(100 * time.Millisecond)
	r.expect(r.caller, "shop")
	r.away = true
	r.round(100 * time.Millisecond)
	r.expect(r.caller, listener)
	if tables := strings.Join(r.nft("list", "tables"), ", "); strings.Contains(tables, tablePrefix) {
		t.Errorf("the tables are %s", tables)
	}
}

// TestOnlyDockerSaysWhoseAPortIs: an address alone does not.
func TestOnlyDockerSaysWhoseAPortIs(t *testing.T) {
	r := newRoute(t)
	delete(r.docker, "caller") // it ended, and the list does not know yet
	r.round(0)
	r.expect(r.caller, listener)
	r.docker["caller"] = netip.MustParseAddr("172.30.0.77")
	r.round(time.Second)
	r.expect(r.caller, listener)
	r.docker["caller"] = r.caller.addr
	r.round(time.Second)
	r.expect(r.caller, "shop")
	r.end(r.caller)
	r.caller = r.container("172.30.0.2") // it is another one's now, which nobody told
	r.world.port(r.caller)
	delete(r.docker, "caller")
	r.round(time.Second)
	r.expect(r.caller, listener)
}

func TestPathTellsOfFailures(t *testing.T) {
	r := newRoute(t)
	empty := r.container("172.30.0.5")
	r.announce(empty)
	r.add("empty", empty, nil, map[netip.AddrPort]uint16{empty.announced(): inside})
	r.services["shop"] = serviceOf(empty)
	r.round(0)
	answer := r.callLater()
	time.Sleep(50 * time.Millisecond)
	r.round(100 * time.Millisecond)
	if len(r.failed) != 1 || r.failed[0].Announced != empty.announced() {
		t.Errorf("failed: %v", r.failed)
	}
	r.services["shop"] = Service{Why: "it failed"}
	r.round(100 * time.Millisecond)
	if who := <-answer; who != listener {
		t.Errorf("answered by %s", who)
	}
}

func TestPathTellsOfSilence(t *testing.T) {
	r := newRoute(t)
	r.shop.nft("add table ip t; add chain ip t c { type filter hook input priority 0; policy drop; }")
	r.round(0)
	answer := r.callLater()
	time.Sleep(50 * time.Millisecond)
	r.round(time.Second)
	if len(r.failed) != 0 {
		t.Errorf("failed too early: %v", r.failed)
	}
	r.round(time.Second)
	if len(r.failed) != 1 || r.failed[0].Announced != r.shop.announced() {
		t.Errorf("failed: %v", r.failed)
	}
	r.services["shop"] = Service{Why: "it is silent"}
	r.round(100 * time.Millisecond)
	if who := <-answer; who != listener {
		t.Errorf("answered by %s", who)
	}
}

// TestOpenConnectionsAreCounted, also of an instance that is withdrawn.
func TestOpenConnectionsAreCounted(t *testing.T) {
	r := newRoute(t)
	r.round(0)
	conn, _, err := r.caller.dial()
	if err != nil {
		t.Fatal(err)
	}
	r.round(openEvery)
	if r.open != 1 {
		t.Errorf("%d are open, want 1", r.open)
	}
	r.services["shop"] = Service{}
	r.round(openEvery)
	if r.open != 1 {
		t.Errorf("%d are open, want 1", r.open)
	}
	conn.Close()
	time.Sleep(50 * time.Millisecond)
	r.round(openEvery)
	if r.open != 0 {
		t.Errorf("%d are open, want none", r.open)
	}
}

// TestTableThatSomebodyRemovedIsWrittenAgain as after a flush of all rules.
func TestTableThatSomebodyRemovedIsWrittenAgain(t *testing.T) {
	r := newRoute(t)
	r.round(0)
	r.nft("delete", "table", "ip", r.path.table.table.Name)
	r.expect(r.caller, listener)
	r.round(time.Second) // notices
	r.round(retryAfter)
	r.expect(r.caller, "shop")
}

// callLater calls, and tells who answered. It returns when the kernel has given the call to an instance.
func (r *route) callLater() <-chan string {
	r.t.Helper()
	before, answer := r.given(), make(chan string, 1)
	go func() {
		who, err := r.caller.call()
		if err != nil {
			who = err.Error()
		}
		answer <- who
	}()
	for deadline := time.Now().Add(10 * time.Second); r.given() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("the kernel connects nobody")
		}
	}
	return answer
}

// given is how many connections the kernel gave to instances.
func (r *route) given() (n uint64) {
	r.mustIn(func() error {
		traffic, err := r.path.table.Traffic()
		for _, of := range traffic {
			n += of.Opened
		}
		return err
	})
	return n
}

// TestNextOwnerDoesNotMeetOldConnections, which somebody who was cut off could not end.
func TestNextOwnerDoesNotMeetOldConnections(t *testing.T) {
	r := newRoute(t)
	r.round(0)
	old, _, err := r.caller.dial()
	if err != nil {
		t.Fatal(err)
	}
	from := old.LocalAddr().(*net.TCPAddr)
	r.end(r.caller)
	delete(r.docker, "caller")
	next := r.container("172.30.0.2")
	r.world.port(next)
	dial := func(timeout time.Duration) (who string, err error) {
		err = next.in(func() error {
			dialer := net.Dialer{LocalAddr: from, Timeout: timeout}
			conn, err := dialer.Dial("tcp4", netip.AddrPortFrom(netip.MustParseAddr(gateway), dialled).String())
			if err != nil {
				return err
			}
			defer conn.Close()
			who, err = bufio.NewReader(conn).ReadString('\n')
			return err
		})
		return strings.TrimSpace(who), err
	}
	if who, err := dial(500 * time.Millisecond); err == nil {
		t.Errorf("the first packet met the old connection, answered by %q", who)
	}
	r.round(time.Second)
	if who, err := dial(5 * time.Second); who != listener || err != nil {
		t.Errorf("answered by %q: %v", who, err)
	}
}

func TestWithoutTheCapabilityNothingIsTheKernels(t *testing.T) {
	r := newRoute(t)
	r.mustIn(func() error {
		if err := dropNetAdmin(); err != nil {
			return err
		}
		r.path.bind(t.Context())
		r.path.ask(t.Context())
		r.path.pass(r.now)
		return nil
	})
	if err := r.path.Ready(); !errors.Is(err, unix.EPERM) {
		t.Errorf("ready: %v", err)
	}
	r.expect(r.caller, listener)
}

// dropNetAdmin takes the capability from the thread, which ends with its goroutine.
func dropNetAdmin() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	return unix.Capset(&head, &data[0])
}

// TestTheLastOneLeavesNothing, and the one before it what the other needs.
func TestTheLastOneLeavesNothing(t *testing.T) {
	r := newRoute(t)
	r.round(0)
	r.mustIn(Leave)
	r.expect(r.caller, "shop")
	r.mustIn(func() error { r.path.rest(); return Leave() })
	r.mustIn(func() error {
		_, _, rules, err := inwardRules()
		if err == nil && slices.ContainsFunc(rules, isInward) {
			err = errors.New("the rule for containers of this host is left")
		}
		return err
	})
}
