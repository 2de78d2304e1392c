package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

func TestWithdrawnRecordsComeBackWithTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA, idB)
		b.pass(time.Minute)
		before := b.record(idA)
		if err := b.store.Delete(t.Context(), state.RecordKey("dummy", "nginx", idA)); err != nil {
			t.Fatal(err)
		}
		b.store.log = nil
		b.agent.Reannounce()
		b.pass(time.Second)
		if got := b.record(idA); got != before {
			t.Errorf("record %q, was %q", got, before)
		}
		// What was not withdrawn may just be about to be, as it was seen: it is another one now.
		if written := strings.Join(b.store.log, " "); !strings.Contains(written, "set "+state.RecordKey("dummy", "nginx", idB)) || strings.Contains(written, "delete") {
			t.Errorf("wrote %s", written)
		}
		b.store.log = nil
		b.pass(10 * time.Minute)
		if len(b.store.log) > 0 {
			t.Errorf("goes on to write %q", b.store.log)
		}
	})
}

func TestWithdrawnRecordsComeBackWhenTheStoreDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Minute)
		if err := b.store.Delete(t.Context(), state.RecordKey("dummy", "nginx", idA)); err != nil {
			t.Fatal(err)
		}
		b.store.setAway(true)
		b.agent.Reannounce()
		b.pass(time.Minute)
		b.store.setAway(false)
		b.pass(2 * time.Second)
		if b.record(idA) == "" {
			t.Error("the record is still missing")
		}
	})
}

func TestUnwritableRecordHoldsUpNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Second)
		const nginx = "/skydns/local/skydns/dummy/nginx"
		b.store.set(func() { b.store.file = nginx })
		if err := b.store.Delete(t.Context(), nginx+"/"+idA); err != nil {
			t.Fatal(err)
		}
		b.assign("", idB)
		b.pass(10 * time.Second)
		if n, _, _ := b.engine.count(); n != 1 {
			t.Errorf("%d containers: one that cannot be announced keeps another from being removed", n)
		}
		want := "service nginx cannot be announced: set " + nginx + "/" + idB + ": key is not a directory"
		if o := b.observed(idB); o.Phase != state.PhaseRunning || o.Reason != want {
			t.Errorf("observed: %+v", o)
		}
		// Not even for a moment: who waits for it to be healthy would end what it replaces.
		if slices.ContainsFunc(b.store.values, func(v string) bool {
			return strings.Contains(v, `"slot":2`) && strings.Contains(v, `"phase":"healthy"`)
		}) {
			t.Errorf("was healthy: %q", b.store.values)
		}
		tries, lists := b.store.count()
		b.pass(10 * time.Minute)
		triesAfter, listsAfter := b.store.count()
		if n := triesAfter - tries; n < 8 || n > 20 {
			t.Errorf("tried to write it %d times in 10 minutes", n)
		}
		if n := listsAfter - lists; n > 2*90 {
			t.Errorf("listed %d times in 10 minutes", n)
		}
		b.store.set(func() { b.store.file = "" })
		b.pass(time.Minute + time.Second)
		if o := b.observed(idB); o.Phase != state.PhaseHealthy || b.record(idB) == "" {
			t.Errorf("once it can be announced: observed: %+v, record %q", o, b.record(idB))
		}
	})
}

// TestHealthyIsWhatCanBeFound: who waits for an instance to be healthy may withdraw another.
func TestHealthyIsWhatCanBeFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA)
		b.pass(time.Second)
		record := slices.Index(b.store.log, "set "+state.RecordKey("dummy", "nginx", idA))
		states := 0
		for i, write := range b.store.log {
			if write == "set "+state.InstanceKey("10.0.0.1", idA) && i > record {
				states++
			}
		}
		if record < 0 || states != 1 {
			t.Errorf("wrote %q", b.store.log)
		}
	})
}

func TestRecordsDeletedByHandComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA, idB)
		b.pass(time.Minute)
		b.store.log = nil
		record, own := state.RecordKey("dummy", "nginx", idA), state.InstanceKey("10.0.0.1", idB)
		for _, key := range []string{record, own} {
			if err := b.store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		b.pass(10*time.Second + time.Millisecond)
		if want := []string{"delete " + record, "delete " + own, "set " + record, "set " + own}; !slices.Equal(b.store.log, want) {
			t.Errorf("wrote %q, want %q", b.store.log, want)
		}
	})
}

// TestFirstStateIsNotHealthyBeforeTheRecord also where an instance is healthy sooner than anything can
// be written.
func TestFirstStateIsNotHealthyBeforeTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.store.set(func() { b.store.file = "/skydns/local/skydns/dummy/nginx" })
		b.store.setAway(true)
		b.assign(idA)
		b.pass(10 * time.Second)
		b.store.setAway(false)
		b.pass(10 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || !strings.Contains(o.Reason, "cannot be announced") {
			t.Errorf("observed: %+v", o)
		}
		for _, value := range b.store.values {
			if strings.Contains(value, `"phase":"healthy"`) {
				t.Errorf("wrote %s", value)
			}
		}
	})
}

// TestEmptyDirectoriesGo: names of apps and services may come and go for ever.
func TestEmptyDirectoriesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.assign(idA, idB)
		b.pass(time.Second)
		b.assign("", idB)
		b.pass(20 * time.Second)
		if b.store.pruned != nil {
			t.Errorf("removed are %q, where a record is left", b.store.pruned)
		}
		b.assign()
		b.pass(20 * time.Second)
		if want := []string{"/skydns/local/skydns/dummy/nginx", "/skydns/local/skydns/dummy"}; !slices.Equal(b.store.pruned, want) {
			t.Errorf("removed are %q, want %q", b.store.pruned, want)
		}
	})
}
