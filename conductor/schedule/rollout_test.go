package schedule_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// with is a manifest of the image with further fields.
func with(image string, scale int, fields string) string {
	if fields != "" {
		fields = ", " + fields
	}
	return fmt.Sprintf(`{"image": %q, "scale": %d%s}`, image, scale, fields)
}

// revision reads a revision's key.
func (w *world) revision(app, name string, n int) state.Revision {
	w.t.Helper()
	var r state.Revision
	if err := json.Unmarshal([]byte(w.keys[state.Ref{App: app, Name: name}.RevisionKey(n)].Value), &r); err != nil {
		w.t.Fatalf("revision %d of %s/%s: %v", n, app, name, err)
	}
	return r
}

// revisions is how many slots of a container are at which revision.
func (w *world) revisions(app, name string) map[int]int {
	counts := map[int]int{}
	for _, s := range w.status(app, name).Slots {
		counts[s.Revision]++
	}
	return counts
}

func TestBadUpdateIsRolledBack(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "web", with("good", 4, ""))
	w.settle()
	before := ids(w.seen)
	w.put("x", "web", with("bad", 4, ""))
	w.settle()

	s := w.status("x", "web")
	if s.State != schedule.StateRunning || s.Revision != 1 || s.Healthy != 4 || !strings.Contains(s.Reason, "revision 2 failed: slot") {
		t.Errorf("status: %+v", s)
	}
	if got := ids(w.seen); !maps.Equal(got, before) {
		t.Errorf("runs %v, before %v: nothing had been replaced", got, before)
	}
	if r := w.revision("x", "web", 2); r.Verdict != state.VerdictFailed || !strings.Contains(r.Reason, "there is no such image") {
		t.Errorf("revision 2: %+v", r)
	}
	index := w.index
	w.planner = schedule.NewPlanner(w.newID) // another scheduler
	w.told = nil
	w.settle()
	if w.index != index {
		t.Error("another scheduler tried it again")
	}

	w.put("x", "web", with("bad", 4, "")) // a person did
	w.settle()
	if r := w.revision("x", "web", 3); r.Verdict != state.VerdictFailed {
		t.Errorf("written again: %+v", r)
	}
	w.put("x", "web", with("good", 4, ""))
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StateRunning || s.Revision != 4 || s.Reason != "" {
		t.Errorf("the former manifest: %+v", s)
	}
	if got := ids(w.seen); !maps.Equal(got, before) {
		t.Errorf("runs %v, before %v: what asks for the same needs no new container", got, before)
	}
}

// TestUpdateThatFailsHalfway: what was updated already goes back.
func TestUpdateThatFailsHalfway(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "web", with("good", 4, ""))
	w.settle()
	w.put("x", "web", with("fragile", 4, ""))
	w.sick = func(k state.AppKey, a *state.Assignment) string {
		if k.Item == 3 && a.Revision == 2 {
			return "it does not like slot 3"
		}
		return ""
	}
	w.settle()
	if s := w.status("x", "web"); s.Revision != 1 || s.Healthy != 4 || s.State != schedule.StateRunning || s.Rollout != nil {
		t.Errorf("status: %+v", s)
	}
	if got := w.revisions("x", "web"); !maps.Equal(got, map[int]int{1: 4}) {
		t.Errorf("slots by revision: %v", got)
	}
}

func TestRollbackThatFailsPauses(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "web", with("good", 2, ""))
	w.settle()
	w.put("x", "web", with("fragile", 2, ""))
	w.sick = func(k state.AppKey, a *state.Assignment) string {
		if a.Reason == state.ReasonRollback || a.Revision == 2 && k.Item == 2 {
			return "the disk is broken"
		}
		return ""
	}
	w.settle()
	s := w.status("x", "web")
	if s.State != schedule.StatePaused || !strings.Contains(s.Reason, "going back to revision 1 failed too: slot 1") || s.Healthy != 2 {
		t.Errorf("status: %+v", s)
	}
	w.sick = nil
	w.put("x", "web", with("good", 2, ""))
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StateRunning || s.Healthy != 2 {
		t.Errorf("after the manifest was written again: %+v", s)
	}
}

func TestFailureActions(t *testing.T) {
	for action, want := range map[string]struct {
		state     string
		revisions map[int]int
	}{
		"pause":    {schedule.StatePaused, map[int]int{1: 3}},
		"rollback": {schedule.StateRunning, map[int]int{1: 3}},
		"continue": {schedule.StateUpdating, map[int]int{1: 1, 2: 2}},
	} {
		t.Run(action, func(t *testing.T) {
			w := newWorld(t, 3)
			w.put("x", "web", with("good", 3, ""))
			w.settle()
			w.sick = func(k state.AppKey, a *state.Assignment) string {
				if a.Revision == 2 && k.Item == 1 {
					return "does not start"
				}
				return ""
			}
			w.put("x", "web", with("fragile", 3, `"update": {"failure_action": "`+action+`"}`))
			w.settle()
			if s := w.status("x", "web"); s.State != want.state || s.Healthy != 3 || !maps.Equal(w.revisions("x", "web"), want.revisions) {
				t.Errorf("slots by revision %v, status %+v", w.revisions("x", "web"), s)
			}
		})
	}
}

func TestNoProgressIsAFailure(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "web", with("good", 2, ""))
	w.settle()
	w.put("x", "web", with("sick", 2, `"update": {"healthy_deadline": "1m", "progress_deadline": "2m"}`))
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StateUpdating {
		t.Fatalf("status: %+v", s)
	}
	_, wake := w.planner.Plan(w.now)
	if want := w.now.Add(2 * time.Minute); !wake.Equal(want) {
		t.Errorf("looks again at %v, want %v", wake, want)
	}
	w.now = wake
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StateRunning || s.Revision != 1 || !strings.Contains(s.Reason, "no progress for 2m0s: slot 1 on host 10.0.0.1: sick") {
		t.Errorf("status: %+v", s)
	}
}

func TestCanariesWaitForAPerson(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "web", with("good", 4, ""))
	w.settle()
	w.put("x", "web", with("better", 4, `"update": {"canary": 2}`))
	w.settle()
	s := w.status("x", "web")
	if s.Rollout == nil || s.Rollout.Phase != state.RolloutCanary || !maps.Equal(w.revisions("x", "web"), map[int]int{1: 4}) {
		t.Fatalf("status: %+v", s)
	}
	running := 0
	for _, n := range w.running("x", "web") {
		running += n
	}
	if running != 6 {
		t.Errorf("%d instances run, want 4 and 2 canaries", running)
	}
	w.write(state.Ref{App: "x", Name: "web"}.PromoteKey(), "2")
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StateRunning || !maps.Equal(w.revisions("x", "web"), map[int]int{2: 4}) {
		t.Errorf("promoted: %+v", s)
	}
	if _, left := w.keys[state.Ref{App: "x", Name: "web"}.PromoteKey()]; left {
		t.Error("the promotion stays for the next update")
	}
}

// TestRestart: the same manifest is rolled out once more for each restart that is asked for.
func TestRestart(t *testing.T) {
	w := newWorld(t, 2)
	ref := state.Ref{App: "x", Name: "web"}
	w.put("x", "web", with("good", 2, ""))
	w.settle()
	before := ids(w.seen)
	for revision := 2; revision <= 3; revision++ {
		value := strconv.Itoa(revision - 1)
		w.write(ref.RestartKey(), value)
		w.settle()
		if s := w.status("x", "web"); s.State != schedule.StateRunning || s.Healthy != 2 || !maps.Equal(w.revisions("x", "web"), map[int]int{revision: 2}) {
			t.Errorf("restart %s: %+v", value, s)
		}
	}
	after := ids(w.seen)
	for id := range before {
		if after[id] {
			t.Errorf("instance %s is still there", id)
		}
	}
	w.write(ref.RestartKey(), "again") // counts as none
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StateRunning || s.Healthy != 2 {
		t.Errorf("nonsense: %+v", s)
	}
	delete(w.keys, ref.ManifestKey())
	w.settle()
	if _, left := w.keys[ref.RestartKey()]; left {
		t.Error("the restart stays for the next container of this name")
	}
}

// TestChangesThatNeedNoContainer: an update of what is around a container replaces none.
func TestChangesThatNeedNoContainer(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "web", with("good", 2, `"services": {"web": 80}`))
	w.settle()
	before := ids(w.seen)
	w.put("x", "web", with("good", 3, `"services": {"web": 80}, "update": {"max_parallel": 2}, "stop_grace_period": "1s",
		"checks": [{"type": "http", "service": "web"}]`))
	w.settle()
	s := w.status("x", "web")
	if s.Revision != 1 || s.Healthy != 3 || s.State != schedule.StateRunning {
		t.Errorf("status: %+v", s)
	}
	for id := range before {
		if _, still := w.seen[id]; !still {
			t.Errorf("%s was replaced", id)
		}
	}
	if r := w.revision("x", "web", 1); !strings.Contains(string(r.Manifest), `"checks"`) {
		t.Errorf("the hosts do not learn of it: %s", r.Manifest)
	}
}

func TestStopFirst(t *testing.T) {
	for name, fields := range map[string]string{
		"asked for": `"update": {"order": "stop-first"}`, "host port": `"services": {"web": {"port": 80, "host_port": 8080}}`,
		"single writer": `"volumes": [{"name": "data", "path": "/data"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			w.put("x", "db", with("good", 2, fields))
			w.settle()
			w.put("x", "db", with("better", 2, fields))
			for range 30 {
				w.schedule()
				for key, slot := range w.slots() {
					if slot.Next != nil {
						t.Fatalf("%s has two instances: %+v", key, slot)
					}
				}
				if n := total(w.running("x", "db")); n < 1 || n > 2 {
					t.Fatalf("%d run", n)
				}
				w.work()
			}
			if s := w.status("x", "db"); s.State != schedule.StateRunning || s.Revision != 2 || s.Healthy != 2 {
				t.Errorf("status: %+v", s)
			}
		})
	}
}

func total(counts map[string]int) (n int) {
	for _, m := range counts {
		n += m
	}
	return n
}

// TestOneImage: until the image's name is resolved, one host alone finds out what it is.
func TestOneImage(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "web", with("good", 3, ""))
	w.schedule()
	if n := len(w.slots()); n != 1 {
		t.Errorf("%d slots are assigned before the image is known", n)
	}
	w.work()
	w.schedule()
	if r := w.revision("x", "web", 1); r.Image != "sha256:1" || len(w.slots()) != 3 {
		t.Errorf("image %q, %d slots", r.Image, len(w.slots()))
	}
}
