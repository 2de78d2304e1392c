package agent

import (
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
