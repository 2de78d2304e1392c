package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

func TestProbesDecideWhileDockerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Minute)
		announced := b.record(idA)
		b.engine.set(func() { b.engine.hangs = true })
		b.pass(time.Minute)
		if r := b.record(idA); r != announced || r == "" {
			t.Errorf("the service answers, its record was %q and is %q", announced, r)
		}
		if b.agent.Condition() == "" {
			t.Error("the host takes new slots")
		}
		b.assign(idA, idB)
		b.engine.set(func() { b.engine.deaf = errRefused })
		b.pass(30 * time.Second)
		if r := b.record(idA); r != "" {
			t.Errorf("the service does not answer, its record is %s", r)
		}
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.Reason == "" {
			t.Errorf("observed: %+v", o)
		}
		if o := b.observed(idB); o.Phase != state.PhaseStarting {
			t.Errorf("what cannot be started yet: %+v", o)
		}
		b.engine.set(func() { b.engine.hangs, b.engine.deaf = false, nil })
		b.pass(30 * time.Second)
		if b.record(idA) != announced || b.record(idB) == "" {
			t.Errorf("after Docker answers again: %q and %q", b.record(idA), b.record(idB))
		}
		if containers, starts, _ := b.engine.count(); containers != 2 || starts != 2 {
			t.Errorf("%d containers, %d starts", containers, starts)
		}
	})
}

// TestHangingDockerCostsNoTime: an instance that cannot be started yet is not given up for that.
func TestHangingDockerCostsNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Minute)
		b.engine.set(func() { b.engine.hangs = true })
		b.assign(idA, idB)
		b.pass(10 * time.Minute) // twice its healthy_deadline
		if o := b.observed(idB); o.GaveUp || o.Phase != state.PhaseStarting {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.hangs, b.engine.deaf = false, errRefused })
		b.pass(4 * time.Minute)
		if o := b.observed(idB); o.GaveUp {
			t.Errorf("observed before its time: %+v", o)
		}
		b.pass(2 * time.Minute)
		if o := b.observed(idB); !o.GaveUp {
			t.Errorf("observed after its time: %+v", o)
		}
	})
}

func TestNothingIsPublishedBeforeDockerWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.store.keys[state.RecordKey("dummy", "nginx", idA)] = `{"host":"10.0.0.1","port":32769}`
		b.engine.hangs = true
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Minute)
		if b.record(idA) == "" || len(b.store.log) > 0 {
			t.Errorf("an agent that has not seen Docker wrote %v", b.store.log)
		}
	})
}
