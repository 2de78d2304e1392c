package schedule_test

import (
	"maps"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

// TestHangingDockerMovesOnlyWhatIsNotHealthy: what runs on a host whose Docker hangs stays there for
// as long as its probes say that it works.
func TestHangingDockerMovesOnlyWhatIsNotHealthy(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "well", with("good", 1, `"affinities": ["host.ip == 10.0.0.1"]`))
	w.settle()
	w.put("x", "ill", with("good", 1, `"constraints": ["host.ip == 10.0.0.1"]`))
	w.settle()
	w.put("x", "ill", with("good", 1, ""))
	w.settle()
	hang := func(condition string) {
		h := w.hosts["10.0.0.1"]
		h.Condition = condition
		w.hosts["10.0.0.1"] = h
	}
	hang(state.ConditionHanging)
	w.schedule()
	for id, o := range w.seen {
		if o.Ref.Name == "ill" && o.Host == "10.0.0.1" {
			o.Phase, o.Steady, o.Reason = state.PhaseRunning, false, "port 80 does not accept connections"
			w.seen[id] = o
		}
	}
	for range 5 {
		w.schedule()
		for key, slot := range w.slots() { // Docker elsewhere works
			if next := slot.Next; next != nil && next.Host == "10.0.0.2" {
				k, _ := state.ParseAppKey(key)
				w.seen[next.Instance] = observedOn("10.0.0.2", w.behave(k, next))
			}
		}
	}
	if got := w.slots()["/apps/x/ill/hosts/1"]; got.Current == nil || got.Current.Host != "10.0.0.2" {
		t.Errorf("what is not healthy is in slot %+v", got)
	}
	if got := w.running("x", "well"); !maps.Equal(got, map[string]int{"10.0.0.1": 1}) {
		t.Errorf("what is healthy runs on %v", got)
	}
	hang("")
	w.settle()
	if got := total(w.running("x", "ill")); got != 1 {
		t.Errorf("%d run when Docker answers again", got)
	}
}
