package identity

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// settled is after how long a listing that an event asked for is over.
const settled = 2 * paceLeast

var (
	addr2 = netip.MustParseAddr("172.30.0.2")
	addr3 = netip.MustParseAddr("172.30.0.3")
	addr6 = netip.MustParseAddr("2001:db8::2")

	errDocker = errors.New("docker is away")

	connected    = docker.Event{Type: docker.Connected}
	disconnected = docker.Event{Type: docker.Disconnected}
)

func died(id string) docker.Event { return docker.Event{Type: "container", Action: "die", ID: id} }

// inBubble runs test in virtual time with a table of callers over a fake Engine, whose events
// are followed and which was listed once.
func inBubble(t *testing.T, test func(t *testing.T, c *Callers, engine *fakeEngine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		engine := &fakeEngine{}
		engine.start("crawler", addr2, map[int]string{10001: "web.shop.skydns.local"})
		c := New(Settings{Engine: engine, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Failed: func() {}, Changed: func() {}})
		c.newestLink = engine.newestLink
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { c.Run(ctx) })
		defer group.Wait()
		defer cancel()
		c.hint(connected)
		time.Sleep(settled)
		test(t, c, engine)
	})
}

// wantCaller asks who has the address; want is "" for a stranger.
func wantCaller(t *testing.T, c *Callers, addr netip.Addr, want string) {
	t.Helper()
	who, err := c.Find(t.Context(), addr)
	switch {
	case want == "" && !errors.Is(err, ErrStranger):
		t.Fatalf("find %s: %+v, %v; want a stranger", addr, who, err)
	case want != "" && (err != nil || who.ID != want):
		t.Fatalf("find %s: %+v, %v; want %s", addr, who, err, want)
	}
}

func TestAKnownCallerNeedsNoDocker(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.fail(errDocker)
		lists := engine.listings()
		wantCaller(t, c, addr2, "crawler")
		if engine.listings() != lists {
			t.Error("Docker was asked")
		}
	})
}

func TestWhileDockerIsAwayItsContainersGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.fail(errDocker)
		c.hint(disconnected)
		wantCaller(t, c, addr2, "crawler")
		if _, err := c.Find(t.Context(), addr3); !errors.Is(err, errDocker) {
			t.Errorf("somebody else: %v", err)
		}
	})
}

func TestADockerThatIsBackMayHaveStartedOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		c.hint(disconnected)
		engine.fail(errDocker)
		engine.addLink()
		c.hint(connected)
		if who, err := c.Find(t.Context(), addr2); !errors.Is(err, errDocker) {
			t.Errorf("without a listing: %+v, %v", who, err)
		}
		engine.fail(nil)
		wantCaller(t, c, addr2, "crawler")
	})
}

func TestAContainerThatEndsWhileItIsListedIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		gate := make(chan struct{})
		engine.hold(gate)
		c.poke()
		synctest.Wait() // the list is made, and on its way
		engine.remove("crawler")
		c.hint(died("crawler"))
		close(gate)
		synctest.Wait()
		if who := c.Known(addr2); who != nil {
			t.Errorf("came back: %+v", who)
		}
		wantCaller(t, c, addr2, "")
	})
}

func TestTheListIsMadeAgainWithoutAnyEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.remove("crawler")
		time.Sleep(resync + time.Second)
		if who := c.Known(addr2); who != nil {
			t.Errorf("still there: %+v", who)
		}
	})
}

func TestAFailedListingIsTriedAgainSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.fail(errDocker)
		c.hint(died("other"))
		time.Sleep(settled)
		if err := c.Ready(); !errors.Is(err, errDocker) {
			t.Fatalf("ready: %v", err)
		}
		engine.fail(nil)
		time.Sleep(listAgain + settled)
		if err := c.Ready(); err != nil {
			t.Errorf("ready: %v", err)
		}
	})
}

func TestABurstOfEventsIsOneListing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		lists := engine.listings()
		for range 5000 {
			c.hint(docker.Event{Type: "container", Action: "start", ID: "x"})
		}
		time.Sleep(settled)
		if n := engine.listings() - lists; n > 2 {
			t.Errorf("%d listings", n)
		}
	})
}

func TestAStrangerIsRefusedInTimeAndCheaply(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		lists, start := engine.listings(), time.Now()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { wantCaller(t, c, addr3, "") })
		}
		group.Wait()
		if took := time.Since(start); took < newcomerPatience || took > newcomerPatience+settled {
			t.Errorf("took %v", took)
		}
		if n := engine.listings() - lists; n > int(newcomerPatience/paceLeast)+1 {
			t.Errorf("%d listings", n)
		}
	})
}

func TestASlowDockerIsAwaited(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.start("newcomer", addr3, nil)
		gate := make(chan struct{})
		engine.hold(gate)
		time.AfterFunc(3*time.Second, func() { close(gate) })
		wantCaller(t, c, addr3, "newcomer")
	})
}

func TestWhoWaitsIsNotTakenForWhoComesLater(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.put("later", "created", nil, nil)
		c.hint(event("container", "create", "later", labelCluster, "c", "name", "later"))
		time.AfterFunc(300*time.Millisecond, func() {
			joined := event("network", "connect", "n1", "container", "later", "name", "dokkaa")
			joined.Time = time.Now()
			c.hint(joined)
			engine.start("later", addr3, nil)
			c.hint(event("container", "start", "later"))
		})
		wantCaller(t, c, addr3, "") // whoever had the address before, and did not live to be listed
		wantCaller(t, c, addr3, "later")
	})
}

// A network that a caller joins while it waits gives it no other address on the one that it calls from.
func TestWhoWaitsMayJoinAnotherNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.put("a", "created", nil, nil)
		c.hint(event("container", "create", "a", labelCluster, "c", "name", "a"))
		time.AfterFunc(300*time.Millisecond, func() {
			joined := event("network", "connect", "n2", "container", "a", "name", "mine")
			joined.Time = time.Now()
			c.hint(joined)
			engine.start("a", addr3, nil)
			c.hint(event("container", "start", "a"))
		})
		wantCaller(t, c, addr3, "a")
	})
}

func TestWhoeverIsBeingStartedIsAwaited(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.put("slow", "created", nil, nil)
		c.hint(event("container", "create", "slow", labelCluster, "c", "name", "slow"))
		time.AfterFunc(3*time.Second, func() {
			engine.start("slow", addr3, nil)
			c.hint(event("container", "start", "slow"))
		})
		wantCaller(t, c, addr3, "slow")
		start := time.Now()
		wantCaller(t, c, addr6, "")
		if took := time.Since(start); took > newcomerPatience+settled {
			t.Errorf("a stranger waits %v after that", took)
		}
	})
}

func TestAHangingDockerHoldsNobodyForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.hold(make(chan struct{}))
		c.hint(disconnected)
		start := time.Now()
		wantCaller(t, c, addr2, "crawler")
		if took := time.Since(start); took > residentPatience {
			t.Errorf("took %v", took)
		}
		time.Sleep(listTimeout) // by then Docker is known not to answer
		start = time.Now()
		wantCaller(t, c, addr2, "crawler")
		c.hint(connected) // it does again, but has not listed yet
		wantCaller(t, c, addr2, "crawler")
		if took := time.Since(start); took > 0 {
			t.Errorf("then it took %v", took)
		}
		engine.addLink()
		start = time.Now()
		if who, err := c.Find(t.Context(), addr2); !errors.Is(err, ErrUnknown) {
			t.Errorf("with a new link: %+v, %v", who, err)
		}
		if took := time.Since(start); took > lookUpTimeout {
			t.Errorf("that took %v", took)
		}
	})
}

func TestAnAddressThatTwoClaimIsNobodys(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.start("twin", addr2, nil)
		c.hint(docker.Event{Type: "network", Action: "connect"})
		time.Sleep(settled)
		wantCaller(t, c, addr2, "")
	})
}

func TestParseLinks(t *testing.T) {
	for _, test := range []struct {
		label string
		want  map[int]string
		err   string
	}{
		{label: ""},
		{label: "{}", want: map[int]string{}},
		{label: `{"10001":"web.shop.skydns.local"}`, want: map[int]string{10001: "web.shop.skydns.local"}},
		{label: `{"x":"web"}`, err: "is no link"},
		{label: `{"0":"web"}`, err: "is no link"},
		{label: `{"10001":""}`, err: "is no link"},
		{label: `[]`, err: "parse label"},
	} {
		got, err := parseLinks(test.label)
		if !reflect.DeepEqual(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q: %v, %v", test.label, got, err)
		}
	}
}

func TestParseSticky(t *testing.T) {
	for _, test := range []struct {
		label string
		want  map[int]bool
		fails bool
	}{
		{label: ""},
		{label: `{"10001": {"sticky": true}, "10002": {}, "10003": {"sticky": false, "colour": "blue"}}`, want: map[int]bool{10001: true}},
		{label: `[]`, fails: true},
		{label: `{"x": {"sticky": true}}`, fails: true},
	} {
		if got, err := parseSticky(test.label); !reflect.DeepEqual(got, test.want) || (err != nil) != test.fails {
			t.Errorf("%q: %v, %v", test.label, got, err)
		}
	}
	who, err := newCaller("id", "crawler", map[string]string{labelBackends: `{"10001":"web.shop.skydns.local"}`, labelLinks: "?"})
	if err == nil || len(who.Links) != 1 || len(who.Sticky) != 0 {
		t.Errorf("of labels of which one cannot be read: %+v, %v", who, err)
	}
}

// Docker's list may show a container for a moment after the event that it ended.
func TestAnEndedContainerStaysGoneThoughTheListShowsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, _ *fakeEngine) {
		c.hint(died("crawler")) // the list of the fake has it still
		time.Sleep(settled)
		wantCaller(t, c, addr2, "")
		c.hint(docker.Event{Type: "container", Action: "start", ID: "crawler"})
		time.Sleep(settled)
		wantCaller(t, c, addr2, "crawler")
	})
}

func event(kind, action, id string, attributes ...string) docker.Event {
	e := docker.Event{Type: kind, Action: action, ID: id, Attributes: map[string]string{}}
	for i := 0; i < len(attributes); i += 2 {
		e.Attributes[attributes[i]] = attributes[i+1]
	}
	return e
}

func TestEveryAddressOfAContainerIsItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		engine.put("both", "running", map[string][]netip.Addr{"dokkaa": {addr3, addr6}, "bridge": {netip.MustParseAddr("172.17.0.2")},
			"mine": {netip.MustParseAddr("10.7.0.9")}}, nil)
		c.hint(event("container", "start", "both"))
		for _, addr := range []string{"172.30.0.3", "2001:db8::2", "172.17.0.2", "10.7.0.9"} {
			wantCaller(t, c, netip.MustParseAddr(addr), "both")
		}
		// It leaves one network: what it has on the others stays, and the address is free at once.
		engine.put("both", "running", map[string][]netip.Addr{"dokkaa": {addr3, addr6}, "mine": {netip.MustParseAddr("10.7.0.9")}}, nil)
		engine.put("heir", "running", map[string][]netip.Addr{"bridge": {netip.MustParseAddr("172.17.0.2")}}, nil)
		c.hint(event("network", "disconnect", "n1", "container", "both", "name", "bridge"))
		if who := c.Known(netip.MustParseAddr("172.17.0.2")); who != nil {
			t.Errorf("still %s", who.ID)
		}
		wantCaller(t, c, addr3, "both")
		wantCaller(t, c, netip.MustParseAddr("172.17.0.2"), "heir")
	})
}

func TestTheHostItselfIsRefusedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, _ *fakeEngine) {
		start := time.Now()
		if who, err := c.Find(t.Context(), netip.MustParseAddr("127.0.0.1")); !errors.Is(err, ErrHost) {
			t.Errorf("got %+v, %v", who, err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("took %v", took)
		}
	})
}

func TestPortsAreWantedFromTheMakingOfAContainerToItsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Callers, engine *fakeEngine) {
		links := map[int]string{10007: "web.shop.skydns.local"}
		wanted := func(what, name string) {
			t.Helper()
			if got := c.Wanted()[10007]; got != name {
				t.Errorf("%s: wanted by %q, want %q", what, got, name)
			}
			synctest.Wait()
			time.Sleep(settled)
			if got := c.Wanted()[10007]; got != name {
				t.Errorf("%s, and listed: wanted by %q, want %q", what, got, name)
			}
		}
		gate := make(chan struct{})
		engine.hold(gate)
		c.poke()
		time.Sleep(settled) // a list is on its way that does not show what comes now
		engine.put("later", "created", nil, links)
		c.hint(event("container", "create", "later", labelCluster, "c", labelBackends, labelOf(links), "name", "later"))
		engine.hold(nil)
		close(gate)
		wanted("created", "later")
		engine.put("later", "running", map[string][]netip.Addr{"dokkaa": {addr3}}, links)
		c.hint(event("container", "start", "later"))
		wanted("running", "later")
		engine.put("later", "exited", nil, links)
		c.hint(died("later"))
		wanted("ended", "")
		c.hint(event("network", "connect", "n1", "container", "later", "name", "dokkaa"))
		if c.Wanted()[10007] == "" {
			t.Error("about to start again: not wanted")
		}
		engine.remove("later")
		c.hint(event("container", "destroy", "later"))
		wanted("gone", "")
		c.hint(event("container", "create", "foreign", labelBackends, labelOf(links), "name", "foreign"))
		wanted("made by others", "")
	})
}
