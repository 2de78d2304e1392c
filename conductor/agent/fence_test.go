package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const idC = "icccccccccccc"

// refP is a container that nothing fences.
var refP = state.Ref{App: "dummy", Name: "plain"}

// assignFenced makes the host run A with the fields in its manifest, B which nothing fences, and both
// for a while. The slots are in the store, too.
func (b *bench) assignFenced(fields string) {
	nodes := append(b.slots(`{"manifest": {"image": "nginx", "services": {"nginx": 80}, `+fields+`}, "hash": "x"}`, idA),
		store.Node{Key: refP.RevisionKey(1), Value: `{"manifest": {"image": "nginx"}, "hash": "y"}`},
		store.Node{Key: refP.SlotKey(1), Value: `{"current": {"host": "10.0.0.1", "revision": 1, "instance": "` + idB + `"}}`})
	b.store.set(func() {
		for _, node := range nodes {
			b.store.keys[node.Key] = node.Value
		}
	})
	b.put(nodes...)
	b.pass(time.Minute)
	b.engine.set(func() { b.engine.log = nil })
}

// cutOff takes etcd away, after a last renewal of the lease just now.
func (b *bench) cutOff() {
	b.lease.loseAt(time.Now())
	b.store.setAway(true)
	b.apps.unknow()
}

func (b *bench) reunite() {
	b.apps.know()
	b.store.setAway(false)
	b.lease.regain()
}

// hasDone checks what the engine did since it was asked last.
func (b *bench) hasDone(want ...string) {
	b.t.Helper()
	b.engine.set(func() {
		if !slices.Equal(b.engine.log, want) {
			b.t.Errorf("did %q, want %q", b.engine.log, want)
		}
		b.engine.log = nil
	})
}

func TestFencedInstanceEndsBeforeTheLeaseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(movable)
		b.engine.set(func() { b.engine.dying = time.Hour })
		for range 5 { // none of which counts as a failure
			b.cutOff()
			b.pass(leaseTTL*3/4 - time.Millisecond)
			b.hasDone()
			b.pass(leaseTTL/4 - killing)
			b.hasDone("halt c-" + idA + " after 1s")
			b.pass(2 * time.Second)
			b.hasDone() // and nothing starts it
			b.reunite()
			b.pass(2 * time.Second)
			b.hasDone("start c-" + idA)
			if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Restarts != 0 || b.record(idA) == "" {
				t.Errorf("observed: %+v, record %q", o, b.record(idA))
			}
		}
	})
}

func TestFencedInstanceIsLeftWhileTheLeaseIsOnlyLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(movable)
		for range 20 {
			b.cutOff()
			b.pass(leaseTTL*3/4 - time.Millisecond)
			b.reunite()
			b.pass(time.Second)
		}
		b.hasDone()
	})
}

// TestFencedInstanceStartsAgainWithTheLease is of a lease alone that was not renewed: nothing else
// tells the agent to look again.
func TestFencedInstanceStartsAgainWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(movable)
		b.lease.loseAt(time.Now())
		b.pass(time.Minute)
		b.hasDone("halt c-" + idA + " after 1s")
		if o := b.observed(idA); o.Phase != state.PhaseStarting || o.Reason != ReasonFenced || b.record(idA) != "" {
			t.Errorf("observed: %+v, record %q", o, b.record(idA))
		}
		b.pass(time.Second)
		b.lease.regain()
		b.pass(fencePoll + time.Millisecond)
		b.hasDone("start c-" + idA)
	})
}

func TestFencedInstanceThatMovedIsRemovedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(movable)
		b.cutOff()
		b.pass(time.Minute)
		b.hasDone("halt c-" + idA + " after 1s")
		b.reunite()
		b.put(b.slots(nginxRevision)...) // both slots are gone
		b.pass(time.Minute)
		if b.runs() || slices.Contains(b.engine.log, "start c-"+idA) {
			t.Errorf("did %q", b.engine.log)
		}
	})
}

func TestOutgoingFencedInstanceIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(movable)
		b.engine.set(func() { b.engine.open = 1 })
		revision, _ := b.apps.Snapshot().Get(refN.RevisionKey(1))
		b.put(revision)
		b.pass(10 * time.Second) // it drains
		b.cutOff()
		b.pass(leaseTTL - killing)
		if !slices.Contains(b.engine.log, "halt c-"+idA+" after 1s") {
			t.Errorf("did %q", b.engine.log)
		}
	})
}

func TestInstanceIsStoppedAfterTheTimeThatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(`"disconnect": {"stop_on_client_after": "1m"}, "stop_grace_period": "20s"`)
		b.cutOff()
		b.pass(30 * time.Second)
		b.engine.kill("c-" + idA)
		b.pass(time.Second)
		b.hasDone("start c-" + idA) // its time is not over
		b.pass(29*time.Second - time.Millisecond)
		b.hasDone()
		b.pass(time.Second)
		b.hasDone("halt c-" + idA + " after 20s")
		b.pass(time.Minute)
		b.hasDone()
	})
}

func TestConductorThatStartsCutOffFencesWhatItFinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		b.assignFenced(movable)
		b.stop()
		b.cutOff()
		b.lease.loseAt(time.Time{})
		b.apps.set(store.Snapshot{}) // a mirror that never listed
		b.start()
		defer func() { b.stop() }()
		b.pass(leaseTTL/2 - time.Millisecond)
		b.hasDone()
		b.pass(time.Second)
		b.hasDone("halt c-" + idA + " after 1s") // as its label says
	})
}

func TestFenceKeepsTryingWhileDockerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(movable)
		b.cutOff()
		b.pass(leaseTTL/2 + 500*time.Millisecond)
		b.engine.set(func() { b.engine.hangs = true })
		b.pass(time.Minute)
		if n := b.engine.halts; n < 8 || n > 20 {
			t.Errorf("tried %d times in a minute", n)
		}
		b.engine.set(func() { b.engine.hangs = false })
		b.pass(10 * time.Second)
		b.hasDone("halt c-" + idA + " after 0s")
	})
}

func TestFencedInstanceIsStartedOnlyWithALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.lease.loseAt(time.Time{})
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(movable)
		if _, starts, _ := b.engine.count(); starts != 1 { // B's
			t.Errorf("%d starts", starts)
		}
		b.lease.regain()
		b.agent.Reannounce()
		b.pass(time.Second)
		b.hasDone("start c-" + idA)
	})
}

func TestFencedInstanceIsClaimedBeforeItStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		nodes := b.slots(`{"manifest": {"image": "nginx", `+movable+`}, "hash": "x"}`, idA)
		own, slot := state.InstanceKey("10.0.0.1", idA), refN.SlotKey(1)

		b.store.set(func() { b.store.file = state.InstancesDir("10.0.0.1") }) // where nothing can be written
		b.store.set(func() { b.store.keys[slot] = nodes[1].Value })
		b.put(nodes...)
		b.pass(claimTimeout - time.Second)
		b.hasDone()
		b.pass(2 * time.Second)
		if b.engine.containers["c-"+idA].Status == engine.StatusRunning {
			t.Error("started, and nobody can know of it")
		}

		b.store.set(func() { b.store.file, b.store.log = "", nil })
		b.store.set(func() { b.store.keys[slot] = strings.Replace(nodes[1].Value, idA, idC, 1) })
		b.pass(5 * time.Minute)
		b.hasDone() // somebody else has the slot, though the mirror does not say so yet

		b.store.set(func() { b.store.keys[slot] = nodes[1].Value })
		b.pass(2 * time.Minute)
		b.hasDone("start c-" + idA)
		b.store.set(func() {
			wrote, read := slices.Index(b.store.log, "set "+own), slices.Index(b.store.log, "get "+slot)
			if wrote < 0 || read < wrote {
				t.Errorf("the store saw %q", b.store.log)
			}
		})
	})
}

func TestFencedInstanceWaitsForAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assignFenced(movable)
		b.store.setAway(true) // and the lease is renewed all the same
		b.engine.kill("c-" + idA)
		b.pass(time.Minute)
		b.hasDone()
		b.store.setAway(false)
		b.pass(time.Minute)
		b.hasDone("start c-" + idA)
	})
}
