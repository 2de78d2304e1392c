package agent

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// assignRun assigns a run of a job with more fields.
func (b *bench) assignRun(fields string) {
	slot, err := json.Marshal(state.Slot{Current: &state.Assignment{Host: "10.0.0.1", Revision: 1, Instance: idA, Run: "1"}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.put(store.Node{Key: refN.RevisionKey(1), Value: `{"manifest": {"image": "nginx", "mode": "job"` + fields + `}, "hash": "x"}`},
		store.Node{Key: refN.SlotKey(1), Value: string(slot)})
}

func TestJobThatEndsWell(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.exit = engine.Exit{Log: []string{"did it"}} })
		b.assignRun("")
		b.pass(10 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy {
			t.Errorf("while it runs: %+v", o)
		}
		b.engine.end("c-"+idA, "Exited (0) 1 second ago")
		ended := func() {
			t.Helper()
			b.pass(time.Hour)
			o := b.observed(idA)
			if o.Phase != state.PhaseEnded || o.ExitCode == nil || *o.ExitCode != 0 || !slices.Equal(o.Log, []string{"did it"}) || o.GaveUp || o.Reason != "" {
				t.Errorf("observed: %+v", o)
			}
			if len(b.asked()) != 1 {
				t.Errorf("did %q", b.asked())
			}
		}
		ended()
		b.stop()
		b.start()
		ended()
	})
}

func TestJobThatEndsAtOnce(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.short, b.engine.exit = true, engine.Exit{Log: []string{"no"}} })
		b.assignRun("")
		b.pass(time.Minute)
		o := b.observed(idA)
		if o.Phase != state.PhaseEnded || o.ExitCode == nil || *o.ExitCode != 1 || !slices.Equal(o.Log, []string{"no"}) || o.Reason != "exited with code 1: no" {
			t.Errorf("observed: %+v", o)
		}
		if len(b.asked()) != 1 {
			t.Errorf("did %q", b.asked())
		}
		for _, value := range b.store.values { // who sees that it has ended may take it away
			if json.Unmarshal([]byte(value), &o) == nil && o.Phase == state.PhaseEnded && len(o.Log) == 0 {
				t.Errorf("wrote %s", value)
			}
		}
	})
}

func TestJobIsRestartedWithinItsAttempts(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.short = true })
		b.assignRun(`, "restart": {"attempts": 2}`)
		b.pass(time.Hour)
		if o := b.observed(idA); o.Phase != state.PhaseEnded || o.Restarts != 2 || *o.ExitCode != 1 {
			t.Errorf("observed: %+v", o)
		}
		if len(b.asked()) != 3 {
			t.Errorf("did %q", b.asked())
		}
	})
}

// TestJobCutShort: a run that ended with its host is run again, unless it must not, and is no failure.
// What it ends with otherwise while no conductor looks is its own.
func TestJobCutShort(t *testing.T) {
	for name, test := range map[string]struct {
		fields, status string
		again          bool
	}{
		"by its host":                    {"", "Exited (255) 1 second ago", true},
		"by its host, and it must fail":  {`, "on_host_loss": "fail"`, "Exited (255) 1 second ago", false},
		"by itself while nobody watches": {"", "Exited (2) 1 second ago", false},
	} {
		t.Run(name, func(t *testing.T) {
			life(t, func(t *testing.T, b *bench) {
				b.assignRun(test.fields)
				b.pass(10 * time.Second)
				b.stop()
				b.engine.end("c-"+idA, test.status)
				b.start()
				b.pass(10 * time.Second)
				o := b.observed(idA)
				if runs := o.Phase == state.PhaseHealthy; runs != test.again || o.GaveUp || runs && o.Reason != "" {
					t.Errorf("observed: %+v", o)
				}
				b.engine.end("c-"+idA, "Exited (255) 1 second ago") // which somebody saw
				b.pass(10 * time.Second)
				if o := b.observed(idA); o.Phase != state.PhaseEnded || o.ExitCode == nil {
					t.Errorf("then: %+v", o)
				}
			})
		})
	}
}

func TestJobWithoutAReadableRevisionStaysEnded(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.assignRun("")
		b.pass(time.Second)
		b.assignRun(`, "magic": 1`)
		b.engine.end("c-"+idA, "Exited (3) 1 second ago")
		b.pass(time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseEnded || *o.ExitCode != 3 || len(b.asked()) != 1 {
			t.Errorf("observed: %+v, did %q", o, b.asked())
		}
	})
}

// TestJobNeedNotBeHealthy: what is announced of it is another matter than whether it may run.
func TestJobNeedNotBeHealthy(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.deaf = errRefused })
		b.assignRun(`, "services": {"nginx": 80}`)
		b.pass(time.Hour)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.GaveUp || b.record(idA) != "" || len(b.asked()) != 1 {
			t.Errorf("observed: %+v, did %q", o, b.asked())
		}
		b.engine.set(func() { b.engine.deaf = nil })
		b.pass(time.Minute)
		b.engine.set(func() { b.engine.deaf = errRefused })
		b.pass(time.Hour)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.GaveUp || len(b.asked()) != 1 {
			t.Errorf("observed: %+v, did %q", o, b.asked())
		}
	})
}
