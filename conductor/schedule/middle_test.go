package schedule_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

func marshal(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRefusedInTheMiddle: a manifest that is refused takes away nothing of what is in force, also
// not of what is just being replaced.
func TestRefusedInTheMiddle(t *testing.T) {
	w := newWorld(t, 3)
	const stopFirst = `"update": {"order": "stop-first"}`
	w.put("x", "web", with("good", 3, stopFirst))
	w.settle()
	w.put("x", "web", with("better", 3, stopFirst))
	w.schedule() // a slot is empty now
	w.put("x", "web", with("best", 2, `"typo": 1`))
	w.settle()
	s := w.status("x", "web")
	if s.Healthy != 3 || s.Wanted != 3 || w.revisions("x", "web")[2] != 3 || len(s.Errors) != 1 {
		t.Errorf("status: %+v", s)
	}
}

// TestFailedWithAnotherMode: going back is not stopped by what the failed manifest says.
func TestFailedWithAnotherMode(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "web", with("good", 2, `"update": {"order": "stop-first"}`))
	w.settle()
	w.put("x", "web", `{"image": "bad", "mode": "global", "update": {"order": "stop-first"}}`)
	w.settle()
	if s := w.status("x", "web"); s.Healthy != 2 || s.Wanted != 2 || s.Revision != 1 {
		t.Errorf("status: %+v", s)
	}
}

// TestScaleUpBesideCanaries: what nobody found good yet gets no further instances.
func TestScaleUpBesideCanaries(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "web", with("good", 2, ""))
	w.settle()
	w.put("x", "web", with("better", 2, `"update": {"canary": 1}`))
	w.settle()
	w.put("x", "web", with("better", 4, `"update": {"canary": 1}`))
	w.settle()
	if got := w.revisions("x", "web"); got[1] != 4 {
		t.Errorf("slots by revision: %v", got)
	}
	if s := w.status("x", "web"); s.Healthy != 4 || s.Rollout == nil || s.Rollout.Phase != state.RolloutCanary {
		t.Errorf("status: %+v", s)
	}
	w.write(state.Ref{App: "x", Name: "web"}.PromoteKey(), "2")
	w.settle()
	if got := w.revisions("x", "web"); got[2] != 4 {
		t.Errorf("promoted: slots by revision: %v", got)
	}
}

// TestCircleIsTheLastOnes: of a circle only the manifest that closed it is refused, until it is open.
func TestCircleIsTheLastOnes(t *testing.T) {
	w := newWorld(t, 1)
	w.put("x", "a", with("good", 1, `"depends_on": ["b"]`))
	w.put("x", "b", with("good", 1, `"depends_on": ["c"]`))
	w.put("x", "c", with("good", 1, `"depends_on": ["a"]`))
	w.settle()
	for name, refused := range map[string]bool{"a": false, "b": false, "c": true} {
		if s := w.status("x", name); len(s.Errors) > 0 != refused {
			t.Errorf("%s: %+v", name, s)
		}
	}
	w.put("x", "b", with("good", 1, ""))
	w.settle()
	for _, name := range []string{"a", "b", "c"} {
		if s := w.status("x", name); len(s.Errors) > 0 || s.State != schedule.StateRunning {
			t.Errorf("%s, after the circle was opened: %+v", name, s)
		}
	}
}

func TestDependsOnNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.put("x", "a", with("good", 1, `"depends_on": ["b"]`))
	w.settle()
	if s := w.status("x", "a"); !strings.Contains(s.Slots[0].Reason, "waits until x/b is healthy: there is no such container") {
		t.Errorf("status: %+v", s)
	}
}

// TestFirstHostHasNoImage: another one finds out what the image is.
func TestFirstHostHasNoImage(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "web", with("good", 3, ""))
	w.schedule()
	for _, slot := range w.slots() {
		w.seen[slot.Current.Instance] = schedule.Observed{Host: slot.Current.Host, Observed: state.Observed{
			Ref: state.Ref{App: "x", Name: "web"}, Slot: 1, Revision: 1, Phase: state.PhaseFailed, GaveUp: true, Reason: "there is no such image"}}
	}
	w.schedule()
	if n := len(w.slots()); n != 2 {
		t.Errorf("%d slots have a host, want 2: %+v", n, w.status("x", "web"))
	}
}

// TestJobBecomesAService: a run is no instance of what runs for ever, nor the other way round.
func TestJobBecomesAService(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "y", `{"image": "long", "mode": "job"}`)
	w.settle()
	w.put("x", "y", `{"image": "long"}`)
	w.settle()
	for key, slot := range w.slots() {
		if slot.Current == nil || slot.Current.Run != "" {
			t.Errorf("%s: %+v", key, slot.Current)
		}
	}
	if s := w.status("x", "y"); s.Healthy != 1 || s.State != schedule.StateRunning {
		t.Errorf("status: %+v", s)
	}
	w.put("x", "y", `{"image": "sick"}`)
	w.settle() // an update is under way
	w.put("x", "y", `{"image": "long", "mode": "job"}`)
	w.settle()
	for key, slot := range w.slots() {
		if slot.Current == nil || slot.Current.Run == "" {
			t.Errorf("%s: %+v", key, slot.Current)
		}
	}
	if s := w.status("x", "y"); s.Rollout != nil || s.State != schedule.StateRunning {
		t.Errorf("status: %+v", s)
	}
}

// TestRefusedWhilePaused: a manifest that is refused is none, and so no reason to try again.
func TestRefusedWhilePaused(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "web", with("good", 2, ""))
	w.settle()
	w.put("x", "web", with("bad", 2, `"update": {"failure_action": "pause"}`))
	w.settle()
	before, rollout := ids(w.seen), w.keys["/apps/x/web/rollout"]
	w.put("x", "web", with("good", 2, `"typo": 1`))
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StatePaused || len(s.Errors) != 1 || !maps.Equal(ids(w.seen), before) ||
		w.keys["/apps/x/web/rollout"] != rollout {
		t.Errorf("status: %+v", s)
	}
}

// TestSchedulerEndsWhileRollingBack: the next one finds a revision that failed, and a rollout that
// does not say so.
func TestSchedulerEndsWhileRollingBack(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "web", with("good", 2, `"update": {"canary": 1}`))
	w.settle()
	w.put("x", "web", with("fragile", 2, ""))
	w.sick = func(k state.AppKey, a *state.Assignment) string {
		if a.Revision == 2 && k.Item == 2 {
			return "the disk is broken"
		}
		return ""
	}
	for range 20 {
		for _, change := range w.plan() {
			w.apply(change)
			if strings.Contains(change.Value, `"verdict":"failed"`) {
				w.settle()
				if s := w.status("x", "web"); s.State != schedule.StateRunning || w.revisions("x", "web")[1] != 2 {
					t.Errorf("status: %+v", s)
				}
				return
			}
		}
		w.work()
	}
	t.Fatal("revision 2 did not fail")
}

// TestManifestIsBackInTheMiddleOfItsRemoval: a job runs again, though its last run's key was there.
func TestManifestIsBackInTheMiddleOfItsRemoval(t *testing.T) {
	w := newWorld(t, 2)
	manifest := `{"image": "good", "mode": "job"}`
	w.put("x", "job", manifest)
	w.settle()
	runs := w.ids
	delete(w.keys, "/apps/x/job/manifest")
	w.apply(w.plan()[0])
	w.put("x", "job", manifest)
	w.settle()
	if s := w.status("x", "job"); s.State != "completed" || w.ids == runs {
		t.Errorf("%d instances, status: %+v", w.ids, s)
	}
}

func TestNearInACircle(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "a", with("good", 1, `"near": ["b"]`))
	w.put("x", "b", with("good", 1, `"near": ["a"]`))
	w.settle()
	if s := w.status("x", "b"); len(s.Errors) != 1 || s.Errors[0] != "near: goes round in a circle: x/b -> x/a -> x/b" {
		t.Errorf("errors: %q", s.Errors)
	}
	w.put("x", "b", with("good", 1, ""))
	w.settle()
	if s := w.status("x", "a"); s.State != schedule.StateRunning {
		t.Errorf("status: %+v", s)
	}
}
