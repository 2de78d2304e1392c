package schedule_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// TestChangedJobReplacesItsRun: of two revisions of a job never both run, and each has the volume.
func TestChangedJobReplacesItsRun(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "job", `{"image": "long", "mode": "job"}`)
	w.settle()
	w.put("x", "job", `{"image": "long", "mode": "job", "env": {"A": "b"}}`)
	for range 10 {
		w.schedule()
		if n := total(w.running("x", "job")); n > 1 {
			t.Fatalf("%d run at a time", n)
		}
		for key := range w.slots() {
			if key != "/apps/x/job/hosts/1" {
				t.Fatalf("%s: it would have another volume", key)
			}
		}
		w.work()
	}
	if got, want := w.runs("x", "job"), (map[string]state.RunPhase{"1": state.RunReplaced, "2": state.RunRunning}); !maps.Equal(got, want) {
		t.Errorf("runs: %v, want %v", got, want)
	}
}

// TestReplacedRunIsGoneFirst: the same of runs by schedule.
func TestReplacedRunIsGoneFirst(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "job", `{"image": "long", "mode": "job", "schedule": "*/10 * * * *", "concurrency": "replace"}`)
	w.settle()
	w.now = w.now.Add(10 * time.Minute)
	w.settle()
	w.now = w.now.Add(10 * time.Minute)
	w.schedule()
	s := w.status("x", "job")
	if len(w.seen) != 1 || len(w.slots()) != 1 || !strings.Contains(s.Slots[0].Reason, "waits until the instance before is gone") {
		t.Errorf("slots %v, status %+v", w.slots(), s)
	}
	w.work()
	w.settle()
	if got := w.slots()["/apps/x/job/hosts/1"]; got.Current == nil || got.Current.Run != "20140601t122000z" {
		t.Errorf("slot: %+v", got)
	}
}

// TestWaitingRunsSayWhy: also beside one that runs.
func TestWaitingRunsSayWhy(t *testing.T) {
	w := newWorld(t, 1)
	w.put("x", "job", `{"image": "long", "mode": "job", "schedule": "*/10 * * * *", "concurrency": "allow", "max_per_host": 1}`)
	w.settle()
	for range 3 {
		w.now = w.now.Add(10 * time.Minute)
		w.settle()
	}
	s := w.status("x", "job")
	if s.Wanted != 3 || len(s.Slots) != 3 {
		t.Fatalf("status: %+v", s)
	}
	for _, slot := range s.Slots[1:] {
		if !strings.Contains(slot.Reason, "1: max_per_host") {
			t.Errorf("slot: %+v", slot)
		}
	}
}

// TestRunWithoutItsSlot: a scheduler may end, or a person take the key away, at any moment.
func TestRunWithoutItsSlot(t *testing.T) {
	for policy, want := range map[string]state.RunPhase{"restart": state.RunRunning, "fail": state.RunFailed} {
		for name, damage := range map[string]func(w *world){
			"deleted":    func(w *world) { delete(w.keys, "/apps/x/job/hosts/1") },
			"unreadable": func(w *world) { w.write("/apps/x/job/hosts/1", "{") },
		} {
			t.Run(policy+" "+name, func(t *testing.T) {
				w := newWorld(t, 2)
				w.put("x", "job", `{"image": "long", "mode": "job", "on_host_loss": "`+policy+`"}`)
				w.settle()
				damage(w)
				for range 10 {
					w.schedule()
					if n := total(w.running("x", "job")); n > 1 {
						t.Fatalf("%d run at a time", n)
					}
					for key, node := range w.keys {
						if strings.Contains(key, "/hosts/") && node.Value == "{" {
							t.Fatal("the damaged key is left")
						}
					}
					w.work()
				}
				if got := w.runs("x", "job")["1"]; got != want || (got == state.RunRunning) != (total(w.running("x", "job")) == 1) {
					t.Errorf("the run is %s, want %s; slots %v", got, want, w.slots())
				}
			})
		}
	}
}

// TestScheduleGoesOnWhileRefused: what is in force is the manifest before.
func TestScheduleGoesOnWhileRefused(t *testing.T) {
	w := newWorld(t, 1)
	w.put("x", "job", `{"image": "good", "mode": "job", "schedule": "*/10 * * * *"}`)
	w.settle()
	if s := w.status("x", "job"); s.State != schedule.StateScheduled || s.Run != "next run at 2014-06-01T12:10:00Z" {
		t.Errorf("status: %+v", s)
	}
	w.put("x", "job", `{"image": "good", "mode": "job", "schedule": "10 minutes"}`)
	w.settle()
	w.now = w.now.Add(10 * time.Minute)
	w.settle()
	if s := w.status("x", "job"); s.State != "completed" || len(s.Errors) != 1 ||
		s.Run != "run 20140601t121000z: completed, exit code 0; next run at 2014-06-01T12:20:00Z" {
		t.Errorf("status: %+v", s)
	}
}
