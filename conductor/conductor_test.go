package conductor

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// slack is by how much the time stated for something may be exceeded here: the machine is shared.
const slack = 3

// TestFleet follows a cluster of three hosts through what may befall it.
func TestFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	want := map[state.Ref]int{}

	f.run("the emptiest host gets what is new", func(t *testing.T) {
		want[f.put("web", 2)] = 2
		f.wait(5*time.Second*slack, func() error { return f.placed(want) })
		nginx := f.put("nginx", 1)
		want[nginx] = 1
		took := f.wait(5*time.Second*slack, func() error { return f.placed(want) })
		t.Logf("placed and announced after %v", took)
		if hosts := slices.Collect(maps.Values(f.records(nginx))); !slices.Equal(hosts, []string{"10.0.0.3"}) {
			t.Errorf("nginx is on %v, where web is on the others", hosts)
		}
		if f.stops() > 0 {
			t.Error("something was stopped")
		}
	})

	f.run("nothing is planned while nothing changes", func(t *testing.T) {
		time.Sleep(time.Second) // the last status is written
		scheduler := f.scheduler()
		before := scheduler.plans()
		time.Sleep(2 * hostRenew) // six renewals
		if n := scheduler.plans() - before; n > 1 {
			t.Errorf("planned %d times", n)
		}
	})
	f.run("another host schedules when the scheduler ends", func(t *testing.T) { testScheduler(t, f, want) })
	f.run("what ran on a lost host moves", func(t *testing.T) { testLostHost(t, f, want) })
	f.run("an outage of etcd stops nothing", func(t *testing.T) { testOutage(t, f, want) })
}

// testScheduler kills the conductor that schedules, and starts it again within its host's lease.
func testScheduler(t *testing.T, f *fleet, want map[state.Ref]int) {
	before, stops := f.assigned(), f.stops()
	killed := f.scheduler()
	killed.kill()
	killed.start()
	want[f.put("redis", 1)] = 1
	// The former term's lease has to end: nobody gave it back.
	took := f.wait((schedulerTTL+5*time.Second)*slack, func() error { return f.placed(want) })
	t.Logf("placed by the next scheduler after %v", took)
	f.unmoved(before)
	if f.stops() > stops {
		t.Error("something was stopped")
	}
	f.wait(10*time.Second*slack, killed.present)
}

// testLostHost kills the conductor of a host for longer than its lease. Its containers run on, as
// far as anybody knows.
func testLostHost(t *testing.T, f *fleet, want map[state.Ref]int) {
	scheduler := f.scheduler()
	var lost *host
	for _, h := range f.hosts {
		if h != scheduler {
			lost = h
		}
	}
	running := 0
	for _, instances := range lost.docker.running() {
		running += len(instances)
	}
	lost.kill()
	took := f.wait(10*time.Second*slack, func() error {
		for ref, scale := range want {
			if err := f.announced(ref, scale); err != nil {
				return err
			}
			for _, ip := range f.records(ref) {
				if ip == lost.ip {
					return fmt.Errorf("%s is still announced on the lost host", ref)
				}
			}
		}
		// What replaces an instance is announced a moment before it is the slot's current one.
		return f.unused(lost.ip)
	})
	t.Logf("%d instances serve elsewhere after %v", running, took)
	if lost.docker.stops() > 0 {
		t.Error("somebody stopped something on the lost host")
	}
	lost.start()
	f.wait(10*time.Second*slack, func() error { return f.placed(want) })
	if n := lost.docker.stops(); n != running {
		t.Errorf("the host that came back stopped %d instances, %d were no longer its", n, running)
	}
}

// testOutage kills all members of etcd for longer than any lease.
func testOutage(t *testing.T, f *fleet, want map[state.Ref]int) {
	before, stops := f.assigned(), f.stops()
	for i := range 3 {
		f.etcd.Member(i).Kill()
	}
	time.Sleep(hostTTL + 2*time.Second)
	for ip, h := range f.hosts {
		if err := h.conductor.Ready(); err == nil || !strings.Contains(err.Error(), "etcd is not known") {
			t.Errorf("without etcd %s is ready: %v", ip, err)
		}
	}
	var wait sync.WaitGroup
	for i := range 3 {
		wait.Go(f.etcd.Member(i).Restart) // each waits for the others
	}
	wait.Wait()
	for _, h := range f.hosts {
		f.wait(5*time.Second*slack, h.present)
	}
	want[f.put("late", 1)] = 1
	took := f.wait(5*time.Second*slack, func() error { return f.placed(want) })
	t.Logf("placed after %v", took)
	time.Sleep(patience) // whoever is going to be lost by mistake is lost by then
	f.unmoved(before)
	if n := f.stops(); n > stops {
		t.Errorf("%d instances were stopped", n-stops)
	}
}

// TestWipedEtcd holds conductors to the rule that an etcd which lost its content is unknown, not
// empty.
func TestWipedEtcd(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, "10.0.0.1", "10.0.0.2")
	ref := f.put("nginx", 2)
	f.wait(5*time.Second*slack, func() error { return f.placed(map[state.Ref]int{ref: 2}) })
	// Away for so long that conductors have lost their leases: then they announce all anew.
	f.etcd.Member(0).Kill()
	time.Sleep(hostTTL)
	f.etcd.Member(0).Wipe()
	for _, h := range f.hosts {
		f.wait(5*time.Second*slack, func() error {
			if s := h.conductor.apps.Snapshot(); s.Known || !errors.Is(s.Err, store.ErrForeignCluster) || s.Len() == 0 {
				return errors.New("the mirror takes the empty etcd for ours")
			}
			return nil
		})
	}
	f.put("other", 1)
	time.Sleep(2 * schedulerTTL) // somebody holds the scheduler's lease again
	if f.stops() > 0 {
		t.Error("containers were stopped")
	}
	for ip, h := range f.hosts {
		if n := len(h.docker.running()); n != 1 {
			t.Errorf("%d slots run on %s, want 1", n, ip)
		}
		if err := h.conductor.Ready(); !errors.Is(err, store.ErrForeignCluster) {
			t.Errorf("%s is ready in an etcd that is not its: %v", ip, err)
		}
	}
	slots, err := f.slots()
	if err != nil || len(slots) > 0 {
		t.Errorf("slots were written into an etcd that is not ours: %v, %v", slots, err)
	}
	if got := f.records(ref); len(got) > 0 {
		t.Errorf("records were written into an etcd that is not ours: %v", got)
	}
}

// TestHostThatReturnsInTime is about a host that was cut off from etcd, and comes back before its
// replacement is healthy.
func TestHostThatReturnsInTime(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, "10.0.0.2", "10.0.0.1")
	cut, other := f.hosts["10.0.0.1"], f.hosts["10.0.0.2"]
	other.docker.services = netip.MustParseAddr("127.0.0.2") // where nobody listens
	if f.scheduler() != other {
		t.Fatal("the host that is to be cut off schedules")
	}
	ref := f.put("nginx", 1)
	f.wait(5*time.Second*slack, func() error { return f.placed(map[state.Ref]int{ref: 1}) })
	before := f.assigned()
	cut.cut(true)
	f.wait((hostTTL+2*time.Second)*slack, func() error { return f.announced(ref, 0) })
	f.wait(5*time.Second*slack, func() error {
		if len(other.docker.running()) == 0 {
			return errors.New("no replacement was started")
		}
		return nil
	})
	cut.cut(false)
	took := f.wait(5*time.Second*slack, func() error { return f.announced(ref, 1) })
	t.Logf("announced again after %v", took)
	f.wait(10*time.Second*slack, func() error { return f.placed(map[state.Ref]int{ref: 1}) })
	f.unmoved(before)
	if cut.docker.stops() > 0 {
		t.Error("the instance of the host that returned was stopped")
	}
}

// TestConductorThatIsBackAndNotFit is about a conductor that is back within its host's lease, and
// cannot prepare the host for containers for longer than that: it takes nothing new, and keeps what
// it has.
func TestConductorThatIsBackAndNotFit(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, "10.0.0.1", "10.0.0.2")
	ref := f.put("nginx", 2)
	f.wait(5*time.Second*slack, func() error { return f.placed(map[state.Ref]int{ref: 2}) })
	before, unfit := f.assigned(), f.hosts["10.0.0.2"]
	unfit.kill()
	unfit.docker.unfit.Store(true)
	unfit.start()
	time.Sleep(hostTTL + preparation/2)
	f.unmoved(before)
	if err := f.placed(map[state.Ref]int{ref: 2}); err != nil {
		t.Error(err)
	}
	if err := unfit.present(); err == nil || !strings.Contains(err.Error(), "isolated: the firewall is not in place") {
		t.Errorf("the host shows %v, not why it takes nothing", err)
	}
	more := f.put("more", 2)
	f.wait(5*time.Second*slack, func() error { return f.placed(map[state.Ref]int{ref: 2, more: 2}) })
	for _, ip := range f.records(more) {
		if ip == unfit.ip {
			t.Error("a host that is not fit got something new")
		}
	}
	if f.stops() > 0 {
		t.Error("something was stopped")
	}
}
