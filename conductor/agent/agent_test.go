package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	idA = "iaaaaaaaaaaaa"
	idB = "ibbbbbbbbbbbb"
)

func TestAssignedInstanceIsStartedAndAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Ports["nginx"] != 32769 {
			t.Errorf("observed: %+v", o)
		}
		want := `{"host":"10.0.0.1","port":32769,"priority":10,"weight":100,"ttl":5}`
		if got := b.record(idA); got != want {
			t.Errorf("record %s, want %s", got, want)
		}
	})
}

func TestNoRecordBeforeTheServiceAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.deaf = errRefused
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(5 * time.Second)
		if r := b.record(idA); r != "" {
			t.Errorf("announced a service that accepts nothing: %s", r)
		}
		b.pass(40 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || !strings.Contains(o.Reason, "port 80 does not accept connections") {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.deaf = nil })
		b.pass(2 * time.Second)
		if b.record(idA) == "" {
			t.Error("not announced once it accepts")
		}
	})
}

func TestKilledInstanceIsRestartedAtOnceWithItsNewPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Minute)
		b.engine.kill("c-" + idA)
		b.pass(time.Second)
		if r := b.record(idA); !strings.Contains(r, `"port":32770`) {
			t.Errorf("record after the restart: %q", r)
		}
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Restarts != 1 {
			t.Errorf("observed: %+v", o)
		}
	})
}

func TestCrashLoopBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.short = true
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(10 * time.Minute)
		_, starts, _ := b.engine.count()
		if starts < 8 || starts > 30 {
			t.Errorf("%d starts in 10 minutes", starts)
		}
		if o := b.observed(idA); o.Phase != state.PhaseFailed || !o.GaveUp || o.Reason != "not healthy within 5m: exited with code 1" {
			t.Errorf("observed: %+v", o)
		}
	})
}

func TestImageThatCannotBePulledSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.images = nil
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(5 * time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseFailed || !strings.Contains(o.Reason, "pull image nginx: no such host") {
			t.Errorf("observed: %+v", o)
		}
		if _, _, pulls := b.engine.count(); pulls < 5 || pulls > 20 {
			t.Errorf("%d pulls in 5 minutes", pulls)
		}
	})
}

func TestRemovalWithdrawsDrainsAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Second)
		b.assign()
		b.pass(time.Second)
		if r := b.record(idA); r != "" {
			t.Errorf("still announced: %s", r)
		}
		if n, _, _ := b.engine.count(); n != 1 {
			t.Error("stopped before nameservers could forget it")
		}
		if o := b.observed(idA); o.Phase != state.PhaseStopping {
			t.Errorf("observed: %+v", o)
		}
		b.pass(6 * time.Second)
		if n, _, _ := b.engine.count(); n != 0 {
			t.Error("still runs")
		}
		b.pass(time.Second)
		if o := b.observed(idA); o.Phase != "" {
			t.Errorf("observed key is left: %+v", o)
		}
	})
}

func TestNothingIsTakenAwayWhileTheStoreIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Second)
		b.store.setAway(true)
		b.assign()      // what a wiped store might look like …
		b.apps.unknow() // … is not known to be so
		b.pass(10 * time.Minute)
		if n, _, _ := b.engine.count(); n != 1 {
			t.Error("stopped a container without knowing")
		}
		if b.record(idA) == "" {
			t.Error("withdrew a record without knowing")
		}
	})
}

func TestRestartedContainersWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Second)
		b.store.setAway(true)
		b.apps.unknow()
		b.engine.kill("c-" + idA)
		b.pass(time.Second)
		if _, starts, _ := b.engine.count(); starts != 2 {
			t.Errorf("%d starts: an exited container waits for etcd", starts)
		}
		b.store.setAway(false)
		b.pass(10 * time.Second)
		if r := b.record(idA); strings.Contains(r, `"port":32770`) {
			t.Error("wrote into a store that is not known to be ours")
		}
		b.assign(idA)
		b.pass(3 * time.Second)
		if r := b.record(idA); !strings.Contains(r, `"port":32770`) {
			t.Errorf("record after etcd is back: %q", r)
		}
	})
}

func TestAgentsRestartTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		b.assign(idA, idB)
		b.pass(time.Minute)
		b.stop()
		b.store.log, b.engine.log = nil, nil
		b.start()
		defer func() { b.stop() }()
		b.pass(time.Minute)
		if len(b.engine.log) > 0 {
			t.Errorf("did %q", b.engine.log)
		}
		if slices.ContainsFunc(b.store.log, func(w string) bool { return strings.HasPrefix(w, "delete") || strings.Contains(w, "/skydns/") }) {
			t.Errorf("wrote %q", b.store.log)
		}
		if o := b.observed(idB); o.Phase != state.PhaseHealthy {
			t.Errorf("observed: %+v", o)
		}
	})
}

func TestLeftoversOfThisHostAreTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		mine, others, users := state.RecordKey("dummy", "nginx", idA), state.RecordKey("dummy", "nginx", idB), "/skydns/local/skydns/dummy/nginx/by-hand"
		b.store.keys = map[string]string{mine: `{"host":"10.0.0.1","port":1}`, others: `{"host":"10.0.0.2","port":1}`, users: `{"host":"10.0.0.1","port":1}`,
			state.InstanceKey("10.0.0.1", idA): `{}`}
		b.start()
		defer func() { b.stop() }()
		b.pass(time.Second)
		if want := map[string]string{others: b.store.keys[others], users: b.store.keys[users]}; len(b.store.keys) != len(want) {
			t.Errorf("left %v, want %v", b.store.keys, want)
		}
	})
}

func TestInstanceWithoutPortsMustRunForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		b.assignPortless(idA)
		b.pass(2 * time.Second)
		if o := b.observed(idA); o.Phase == state.PhaseHealthy {
			t.Errorf("healthy after 2 seconds: %+v", o)
		}
		b.engine.kill("c-" + idA)
		b.pass(2 * time.Second)
		if o := b.observed(idA); o.Phase == state.PhaseHealthy {
			t.Errorf("healthy 2 seconds after its restart: %+v", o)
		}
		b.pass(2 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy {
			t.Errorf("after 4 seconds: %+v", o)
		}
		b.pass(10 * time.Second) // until it is steady
		b.stop()
		b.store.log = nil
		b.start()
		defer func() { b.stop() }()
		b.pass(time.Minute)
		if len(b.store.log) > 1 { // the count of restarts is not kept
			t.Errorf("a new conductor wrote %q", b.store.log)
		}
	})
}

func TestWhyItIsNotHealthyIsSaidSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.deaf = errRefused
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(slowStart + time.Millisecond)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || !strings.HasSuffix(o.Reason, "connection refused") {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.deaf = errors.New("no route to host") })
		b.pass(time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || !strings.HasSuffix(o.Reason, "no route to host") {
			t.Errorf("observed: %+v", o)
		}
	})
}
