package agent

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/store"
)

// Lease tells when the last renewal of the host's lease began, zero if this process renewed none,
// and for how long that holds.
type Lease func() (renewed time.Time, ttl time.Duration)

const (
	fencePoll    = time.Second     // between two looks at Docker while the lease is late
	haltPatience = 5 * time.Second // that Docker has to stop a container, beside the container's own
)

// ReasonFenced is why an instance was stopped though it is assigned here.
const ReasonFenced = "stopped because this host's lease was not renewed"

// fence is what is known of the containers on a leash.
type fence struct {
	late    bool             // the lease is not renewed as it should be
	leashes map[string]leash // of containers by id, as the keys say whose index this is
	index   uint64

	mu    sync.Mutex
	halts map[string]time.Time // when the stop of a container ended, by id; zero while it is under way
	wg    sync.WaitGroup
}

// sighting is what Docker said at a time.
type sighting struct {
	containers []engine.Container
	at         time.Time
}

// Fence stops, until ctx ends, the containers that may not run on while the host's lease is not
// renewed. It needs no etcd, and no Run: also a conductor that was started while the host is cut off
// does it. The containers stay, and are started again when the lease and their slots let them.
func (a *Agent) Fence(ctx context.Context) error {
	defer a.fence.wg.Wait()
	for {
		wait := fencePoll
		if a.Lease != nil {
			wait = a.guard(ctx)
		}
		if sleep(ctx, wait) != nil {
			return nil
		}
	}
}

// guard looks once, and says how long to wait for the next time. What Docker last said counts until
// it says more: nothing may wait for a Docker that is slow.
func (a *Agent) guard(ctx context.Context) time.Duration {
	renewed, ttl := a.lastRenewed()
	if wait := time.Until(renewed.Add(ttl / 2)); wait > 0 {
		if a.fence.late {
			a.fence.late = false
			a.fence.forget()
			a.Hint() // what was stopped may start
		}
		return wait
	}
	a.fence.late = true
	next := fencePoll
	if seen := a.seen.Load(); seen != nil {
		next = a.enforce(ctx, *seen)
	}
	listing, cancel := context.WithTimeout(ctx, max(next, withdrawPoll))
	defer cancel()
	started := time.Now()
	containers, err := a.Engine.List(listing)
	if err != nil {
		a.Log.Debug("look for containers that may not run without the host's lease", "err", err)
		return max(0, next-time.Since(started))
	}
	return a.enforce(ctx, sighting{containers, started})
}

// lastRenewed is when the lease was last renewed for all that is known. The process before this one may
// have renewed it a while before its end.
func (a *Agent) lastRenewed() (renewed time.Time, ttl time.Duration) {
	if renewed, ttl = a.Lease(); renewed.IsZero() {
		renewed = a.begun.Add(-ttl / 4)
	}
	return renewed, ttl
}

// enforce stops the containers whose leash has ended, and says how long to wait for the next one.
func (a *Agent) enforce(ctx context.Context, seen sighting) (wait time.Duration) {
	wait = fencePoll
	snapshot, now := a.Apps.Snapshot(), time.Now()
	renewed, ttl := a.lastRenewed()
	for _, c := range seen.containers {
		l := a.fence.leash(c, snapshot)
		if !l.held() || !c.Status.Runs() || !a.fence.toStop(c, seen.at) {
			continue
		}
		if left := l.ends(renewed, ttl).Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		a.fenceOff(ctx, c, l.grace(endingOf(c, snapshot).grace, now, renewed, ttl))
	}
	return wait
}

// leash is leashed, remembered: the same is asked again and again while etcd is away.
func (f *fence) leash(c engine.Container, snapshot store.Snapshot) leash {
	if f.leashes == nil || f.index != snapshot.Index {
		f.leashes, f.index = map[string]leash{}, snapshot.Index
	}
	l, known := f.leashes[c.ID]
	if !known {
		l = leashed(c, snapshot)
		f.leashes[c.ID] = l
	}
	return l
}

// toStop tells whether a container that was seen to run is not being stopped, nor was since.
func (f *fence) toStop(c engine.Container, seen time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	ended, tried := f.halts[c.ID]
	return !tried || !ended.IsZero() && seen.After(ended)
}

func (f *fence) begin(c engine.Container) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halts[c.ID] = time.Time{}
}

// end notes that the stop of a container ended. One that failed is to be tried again.
func (f *fence) end(c engine.Container, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.halts[c.ID] = time.Now(); err != nil {
		delete(f.halts, c.ID)
	}
}

// forget forgets the stops that have ended.
func (f *fence) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.halts, func(_ string, ended time.Time) bool { return !ended.IsZero() })
}

// fenceOff stops a container in a goroutine of its own.
func (a *Agent) fenceOff(ctx context.Context, c engine.Container, grace time.Duration) {
	a.fence.begin(c)
	a.mu.Lock()
	a.recall(c.Instance).halted = true // before it ends: that is not its own failure
	a.mu.Unlock()
	log := a.Log.With("app", c.App, "container", c.Name, "slot", c.Slot, "instance", c.Instance)
	log.Warn("stop", "reason", "this host's lease is not renewed", "grace", grace)
	a.fence.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, grace+haltPatience)
		defer cancel()
		err := a.Engine.Halt(ctx, c.ID, grace)
		if err != nil {
			log.Error("a container runs on without the host's lease, and another host may start it too", "err", err)
		}
		a.mu.Lock()
		a.recall(c.Instance).halted = err == nil
		a.mu.Unlock()
		a.fence.end(c, err)
		a.EngineHint()
	})
}
