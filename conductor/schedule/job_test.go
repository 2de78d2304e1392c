package schedule_test

import (
	"encoding/json"
	"fmt"
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

func TestJob(t *testing.T) {
	for name, test := range map[string]struct {
		image string
		code  int
		state string
	}{"that ends well": {"good", 0, "completed"}, "that fails": {"failing", 3, "failed"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.put("x", "job", fmt.Sprintf(`{"image": %q, "mode": "job"}`, test.image))
			w.settle()
			s := w.status("x", "job")
			if s.State != test.state || !strings.Contains(s.Run, fmt.Sprintf("exit code %d", test.code)) || len(w.slots()) != 0 {
				t.Errorf("status: %+v, slots %v", s, w.slots())
			}
			runs := len(w.runs("x", "job"))
			w.put("x", "job", fmt.Sprintf(`{"image": %q, "mode": "job"}`, test.image))
			w.settle()
			if len(w.runs("x", "job")) != runs {
				t.Error("the same manifest runs again")
			}
			w.put("x", "job", fmt.Sprintf(`{"image": %q, "mode": "job", "env": {"A": "b"}}`, test.image))
			w.settle()
			if len(w.runs("x", "job")) != runs+1 {
				t.Error("another manifest does not run")
			}
		})
	}
}

// runs are the phases of a job's runs by id.
func (w *world) runs(app, name string) map[string]state.RunPhase {
	runs := map[string]state.RunPhase{}
	for key, node := range w.keys {
		if k, ok := state.ParseAppKey(key); ok && k.Kind == "runs" && k.Ref == (state.Ref{App: app, Name: name}) {
			var r state.Run
			if err := json.Unmarshal([]byte(node.Value), &r); err != nil {
				w.t.Fatal(err)
			}
			runs[k.ID] = r.Phase
		}
	}
	return runs
}

func TestSchedule(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "job", `{"image": "good", "mode": "job", "schedule": "*/10 * * * *"}`)
	w.settle()
	if got := w.runs("x", "job"); len(got) != 0 {
		t.Fatalf("runs at once: %v", got)
	}
	w.now = w.now.Add(10 * time.Minute)
	w.settle()
	if got := w.runs("x", "job"); !maps.Equal(got, map[string]state.RunPhase{"20140601t121000z": state.RunCompleted}) {
		t.Fatalf("runs: %v", got)
	}
	w.now = w.now.Add(35 * time.Minute) // three ticks missed
	w.settle()
	if got := w.runs("x", "job"); len(got) != 2 || got["20140601t124000z"] != state.RunCompleted {
		t.Errorf("runs: %v", got)
	}
}

func TestConcurrency(t *testing.T) {
	for policy, want := range map[string]map[string]state.RunPhase{
		"forbid":  {"20140601t121000z": state.RunRunning, "20140601t122000z": state.RunSkipped},
		"allow":   {"20140601t121000z": state.RunRunning, "20140601t122000z": state.RunRunning},
		"replace": {"20140601t121000z": state.RunReplaced, "20140601t122000z": state.RunRunning},
	} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t, 2)
			w.put("x", "job", `{"image": "long", "mode": "job", "schedule": "*/10 * * * *", "concurrency": "`+policy+`"}`)
			for range 2 {
				w.settle()
				w.now = w.now.Add(10 * time.Minute)
			}
			w.settle()
			if got := w.runs("x", "job"); !maps.Equal(got, want) {
				t.Errorf("runs: %v, want %v", got, want)
			}
		})
	}
}

func TestRunOnALostHost(t *testing.T) {
	for policy, want := range map[string]state.RunPhase{"restart": state.RunRunning, "fail": state.RunFailed} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t, 2)
			w.put("x", "job", `{"image": "long", "mode": "job", "on_host_loss": "`+policy+`"}`)
			w.settle()
			w.set("10.0.0.1", schedule.Lost)
			w.settle()
			if got := w.runs("x", "job")["1"]; got != want {
				t.Errorf("the run is %s", got)
			}
			if s := w.slots()["/apps/x/job/hosts/1"]; want == state.RunRunning && (s.Current == nil || s.Current.Host != "10.0.0.2") {
				t.Errorf("slot: %+v", s)
			}
		})
	}
}
