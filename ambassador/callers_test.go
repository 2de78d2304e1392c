package ambassador

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/docker"
)

var (
	addr2 = netip.MustParseAddr("172.30.0.2")
	addr3 = netip.MustParseAddr("172.30.0.3")

	connected    = docker.Event{Type: docker.Connected}
	disconnected = docker.Event{Type: docker.Disconnected}
)

func died(id string) docker.Event { return docker.Event{Type: "container", Action: "die", ID: id} }

// inBubble runs test in virtual time with a table of callers over a fake Engine, whose events
// are followed and which was listed once.
func inBubble(t *testing.T, test func(t *testing.T, c *callers, engine *fakeEngine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		engine := &fakeEngine{}
		engine.start("crawler", addr2.String(), map[int]string{10001: "web.shop.skydns.local"})
		env := testEnv()
		c := newCallers(func(ctx context.Context) ([]docker.Container, error) {
			return engine.Running(ctx, labelCluster)
		}, env.Log, newMetrics(env.Metrics).listErrors)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { c.run(ctx) })
		defer group.Wait()
		defer cancel()
		c.hint(connected)
		time.Sleep(2 * listPace)
		test(t, c, engine)
	})
}

// wantCaller asks who has the address; want is "" for a stranger.
func wantCaller(t *testing.T, c *callers, addr netip.Addr, want string) {
	t.Helper()
	who, err := c.find(t.Context(), addr)
	switch {
	case want == "" && !errors.Is(err, errStranger):
		t.Fatalf("find %s: %+v, %v; want a stranger", addr, who, err)
	case want != "" && (err != nil || who.id != want):
		t.Fatalf("find %s: %+v, %v; want %s", addr, who, err, want)
	}
}

func TestAKnownCallerNeedsNoDocker(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		engine.fail(errDocker)
		lists := engine.listings()
		wantCaller(t, c, addr2, "crawler")
		if engine.listings() != lists {
			t.Error("Docker was asked")
		}
	})
}

func TestWhileDockerIsAwayItsContainersGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		engine.fail(errDocker)
		c.hint(disconnected)
		wantCaller(t, c, addr2, "crawler")
		if _, err := c.find(t.Context(), addr3); !errors.Is(err, errDocker) {
			t.Errorf("somebody else: %v", err)
		}
	})
}

func TestADockerThatIsBackMayHaveStartedOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		c.hint(disconnected)
		engine.fail(errDocker)
		c.hint(connected)
		if who, err := c.find(t.Context(), addr2); !errors.Is(err, errDocker) {
			t.Errorf("without a listing: %+v, %v", who, err)
		}
		engine.fail(nil)
		wantCaller(t, c, addr2, "crawler")
	})
}

func TestAContainerThatEndsWhileItIsListedIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		gate := make(chan struct{})
		engine.mu.Lock()
		engine.gate = gate
		engine.mu.Unlock()
		c.poke()
		synctest.Wait() // the list is made, and on its way
		engine.remove("crawler")
		c.hint(died("crawler"))
		close(gate)
		synctest.Wait()
		if who := c.known(addr2); who != nil {
			t.Errorf("came back: %+v", who)
		}
		wantCaller(t, c, addr2, "")
	})
}

func TestTheListIsMadeAgainWithoutAnyEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		engine.remove("crawler")
		time.Sleep(resync + time.Second)
		if who := c.known(addr2); who != nil {
			t.Errorf("still there: %+v", who)
		}
	})
}

func TestAFailedListingIsTriedAgainSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		engine.fail(errDocker)
		c.hint(died("other"))
		time.Sleep(2 * listPace)
		if err := c.ready(); !errors.Is(err, errDocker) {
			t.Fatalf("ready: %v", err)
		}
		engine.fail(nil)
		time.Sleep(listAgain + 2*listPace)
		if err := c.ready(); err != nil {
			t.Errorf("ready: %v", err)
		}
	})
}

func TestABurstOfEventsIsOneListing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		lists := engine.listings()
		for range 5000 {
			c.hint(docker.Event{Type: "container", Action: "start", ID: "x"})
		}
		time.Sleep(5 * listPace)
		if n := engine.listings() - lists; n > 2 {
			t.Errorf("%d listings", n)
		}
	})
}

func TestAStrangerIsRefusedInTimeAndCheaply(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		lists, start := engine.listings(), time.Now()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { wantCaller(t, c, addr3, "") })
		}
		group.Wait()
		if took := time.Since(start); took != newcomerPatience {
			t.Errorf("took %v", took)
		}
		if n := engine.listings() - lists; n > int(newcomerPatience/listPace)+1 {
			t.Errorf("%d listings", n)
		}
	})
}

func TestAHangingDockerHoldsNobodyForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		engine.mu.Lock()
		engine.gate = make(chan struct{})
		engine.mu.Unlock()
		c.hint(disconnected)
		start := time.Now()
		wantCaller(t, c, addr2, "crawler")
		if took := time.Since(start); took > newcomerPatience {
			t.Errorf("took %v", took)
		}
	})
}

func TestAnAddressThatTwoClaimIsNobodys(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, engine *fakeEngine) {
		engine.start("twin", addr2.String(), nil)
		c.hint(docker.Event{Type: "network", Action: "connect"})
		time.Sleep(2 * listPace)
		wantCaller(t, c, addr2, "")
	})
}

func TestParseBackends(t *testing.T) {
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
		got, err := parseBackends(test.label)
		if !reflect.DeepEqual(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q: %v, %v", test.label, got, err)
		}
	}
}

// Docker's list may show a container for a moment after the event that it ended.
func TestAnEndedContainerStaysGoneThoughTheListShowsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *callers, _ *fakeEngine) {
		c.hint(died("crawler")) // the list of the fake has it still
		time.Sleep(2 * listPace)
		wantCaller(t, c, addr2, "")
		c.hint(docker.Event{Type: "container", Action: "start", ID: "crawler"})
		time.Sleep(2 * listPace)
		wantCaller(t, c, addr2, "crawler")
	})
}
