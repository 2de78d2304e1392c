package schedule_test

import (
	"maps"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
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
	hang := func(condition string) { w.trouble("10.0.0.1", condition) }
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

// trouble has a host say that something is wrong with it, "" that all is well.
func (w *world) trouble(ip, condition string) {
	h := w.hosts[ip]
	h.Condition = condition
	w.hosts[ip] = h
}

// TestUpdateGoesAroundHostInTrouble: what cannot start there starts elsewhere, and that it did not is
// no fault of the revision's.
func TestUpdateGoesAroundHostInTrouble(t *testing.T) {
	for _, condition := range []string{state.ConditionHanging, "disk is full"} {
		t.Run(condition, func(t *testing.T) { updateGoesAround(t, condition) })
	}
}

func updateGoesAround(t *testing.T, condition string) {
	w := newWorld(t, 3)
	w.put("x", "web", with("good", 3, ""))
	w.settle()
	w.put("x", "web", with("better", 3, ""))
	w.sick = func(_ state.AppKey, a *state.Assignment) string {
		if a.Host == "10.0.0.2" && a.Revision == 2 {
			return "not healthy within 15s"
		}
		return ""
	}
	for range 20 { // until one is to start there
		w.schedule()
		for _, slot := range w.slots() {
			if slot.Next != nil && slot.Next.Host == "10.0.0.2" {
				w.trouble("10.0.0.2", condition)
			}
		}
		w.work()
	}
	w.now = w.now.Add(time.Minute)
	w.settle()
	s := w.status("x", "web")
	if s.State != schedule.StateRunning || s.Revision != 2 || s.Healthy != 3 || s.Reason != "" {
		t.Errorf("status: %+v", s)
	}
	if got := w.running("x", "web"); got["10.0.0.2"] != 0 {
		t.Errorf("instances by host: %v", got)
	}
}
