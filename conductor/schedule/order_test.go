package schedule_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// TestUrgentFirst loses a host while much else is to be done: there may be no time for all of it.
func TestUrgentFirst(t *testing.T) {
	w := newWorld(t, 3)
	w.put("z", "lost", `{"image": "one", "scale": 3}`)
	w.put("z", "removed", `{"image": "one"}`)
	w.settle()
	for i := range 5 {
		w.put("a", fmt.Sprintf("new%d", i), `{"image": "one", "scale": 2}`)
	}
	delete(w.keys, state.Ref{App: "z", Name: "removed"}.ManifestKey())
	w.set("10.0.0.1", schedule.Lost)
	plan := w.plan()
	others := false
	for _, change := range plan {
		if change.Ref.App == "a" {
			others = true
		} else if others {
			t.Errorf("%s %s comes after what can wait", change.Kind, change.Key)
		}
	}
	if !others || len(plan) == 0 || plan[0].Ref.App != "z" {
		t.Errorf("the plan is %+v", plan)
	}
}

// TestUrgentBringsItsCompany loses the host of a container and of the job that it must be near: the
// job's new place comes first, though a job can wait.
func TestUrgentBringsItsCompany(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "b", `{"image": "long", "mode": "job"}`)
	w.settle()
	w.put("x", "a", `{"image": "one", "near": ["b"]}`)
	w.settle()
	for ip := range w.running("x", "a") {
		w.set(ip, schedule.Lost)
	}
	var order []string
	for _, change := range w.plan() {
		if k, ok := state.ParseAppKey(change.Key); ok && k.Kind == "hosts" {
			order = append(order, k.Name)
		}
	}
	if !slices.Equal(order, []string{"b", "a"}) {
		t.Errorf("slots change of %v", order)
	}
}
