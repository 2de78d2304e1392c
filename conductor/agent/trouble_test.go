package agent

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

func TestActionThatFailsIsTriedLaterAndLater(t *testing.T) {
	tests := map[string]struct {
		kind   Kind
		change func(*bench)
		phase  state.Phase
		reason string
	}{
		"rename": {Rename, func(b *bench) { b.engine.containers["c-"+idA].Name = "dummy---nginx---next-" + idA },
			state.PhaseHealthy, "cannot be renamed to dummy---nginx: the name is taken"},
		"remove": {Remove, func(b *bench) { b.assign() },
			state.PhaseStopping, "cannot be removed: the name is taken"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.start()
				defer func() { b.stop() }()
				b.assign(idA)
				b.pass(time.Second)
				b.engine.set(func() { b.engine.fails = map[Kind]error{test.kind: errors.New("the name is taken")} })
				test.change(b)
				b.agent.EngineHint()
				b.pass(10 * time.Minute)
				if n := b.engine.tried(test.kind); n < 8 || n > 20 {
					t.Errorf("tried %d times in 10 minutes", n)
				}
				if o := b.observed(idA); o.Phase != test.phase || o.Reason != test.reason {
					t.Errorf("observed: %+v", o)
				}
				b.engine.set(func() { b.engine.fails = nil })
				b.pass(90 * time.Second)
				if o := b.observed(idA); o.Reason != "" {
					t.Errorf("observed: %+v", o)
				}
			})
		})
	}
}

func TestInstanceOffTheNetworkIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Minute)
		b.engine.log, b.store.log = nil, nil
		b.engine.set(func() { b.engine.containers["c-"+idA].Addr = netip.Addr{} })
		b.agent.EngineHint()
		b.pass(time.Second)
		if len(b.engine.log) > 0 || b.record(idA) == "" {
			t.Errorf("no patience: did %q, record %q", b.engine.log, b.record(idA))
		}
		b.pass(detachedPatience - time.Second + forgotten/2)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.Reason != "is not on network dokkaa" || b.record(idA) != "" {
			t.Errorf("observed: %+v, record %q", o, b.record(idA))
		}
		b.pass(forgotten)
		if want := []string{"stop c-" + idA, "start c-" + idA}; !slices.Equal(b.engine.log, want) {
			t.Errorf("did %q", b.engine.log)
		}
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || b.record(idA) == "" {
			t.Errorf("observed: %+v, record %q", o, b.record(idA))
		}
	})
}

func TestInstanceOffTheNetworkRunsOnWhileTheStoreIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Minute)
		b.apps.unknow()
		b.engine.set(func() { b.engine.containers["c-"+idA].Addr = netip.Addr{} })
		b.agent.EngineHint()
		b.pass(time.Minute)
		if n, starts, _ := b.engine.count(); n != 1 || starts != 1 {
			t.Errorf("%d containers after %d starts", n, starts)
		}
	})
}

func TestExitedInstanceWhoseNetworkIsGoneIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Minute)
		b.engine.set(func() { b.engine.orphans = map[string]bool{"c-" + idA: true} })
		b.engine.kill("c-" + idA)
		b.pass(5 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || b.record(idA) == "" {
			t.Errorf("observed: %+v, record %q", o, b.record(idA))
		}
	})
}
