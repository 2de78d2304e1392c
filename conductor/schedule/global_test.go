package schedule_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// hostsOfSlots is where each slot's current instance is, by key.
func (w *world) hostsOfSlots() map[string]string {
	hosts := map[string]string{}
	for key, slot := range w.slots() {
		if slot.Current != nil {
			hosts[key] = slot.Current.Host
		}
	}
	return hosts
}

// TestGlobalKeepsItsSlots: what must stop before its successor starts starts again in its own slot,
// where its volume is.
func TestGlobalKeepsItsSlots(t *testing.T) {
	w := newWorld(t, 3)
	manifest := `{"image": %q, "mode": "global", "volumes": [{"name": "data", "path": "/data"}]}`
	w.put("x", "log", fmt.Sprintf(manifest, "good"))
	w.settle()
	before := w.hostsOfSlots()
	w.put("x", "log", fmt.Sprintf(manifest, "better"))
	for range 30 {
		w.schedule()
		for host, n := range w.running("x", "log") {
			if n > 1 {
				t.Fatalf("%d instances on %s", n, host)
			}
		}
		w.work()
	}
	if after := w.hostsOfSlots(); !maps.Equal(after, before) {
		t.Errorf("slots are on %v, were on %v", after, before)
	}
	if s := w.status("x", "log"); s.Healthy != 3 || s.State != schedule.StateRunning || s.Revision != 2 {
		t.Errorf("status: %+v", s)
	}
}

// TestGlobalFindsItsVolumes: slots get the numbers again that their volumes have.
func TestGlobalFindsItsVolumes(t *testing.T) {
	w := newWorld(t, 4)
	for slot, host := range map[int]string{1: "10.0.0.3", 2: "10.0.0.1", 5: "10.0.0.2"} {
		name := manifest.Volume{Name: "data", AccessMode: manifest.SingleWriter}.DockerName("x", "log", slot)
		w.write(state.VolumeKey(host, name),
			fmt.Sprintf(`{"app": "x", "name": "log", "slot": %d, "volume": "data", "driver": "local"}`, slot))
	}
	w.allow("10.0.0.3", state.Cordoned)
	w.put("x", "log", `{"image": "good", "mode": "global", "volumes": [{"name": "data", "path": "/data"}]}`)
	w.settle()
	want := map[string]string{"/apps/x/log/hosts/2": "10.0.0.1", "/apps/x/log/hosts/5": "10.0.0.2", "/apps/x/log/hosts/3": "10.0.0.4"}
	if got := w.hostsOfSlots(); !maps.Equal(got, want) {
		t.Errorf("slots are on %v, want %v", got, want)
	}
	w.allow("10.0.0.3", "")
	w.settle()
	want["/apps/x/log/hosts/1"] = "10.0.0.3"
	if got := w.hostsOfSlots(); !maps.Equal(got, want) {
		t.Errorf("slots are on %v, want %v", got, want)
	}
}

// TestGlobalIsUpdatedWhereItIs: also on a host that takes nothing new.
func TestGlobalIsUpdatedWhereItIs(t *testing.T) {
	for _, fields := range []string{"", `, "update": {"order": "stop-first"}`} {
		w := newWorld(t, 3)
		w.put("x", "log", `{"image": "good", "mode": "global"`+fields+`}`)
		w.settle()
		w.allow("10.0.0.2", state.Cordoned)
		w.put("x", "log", `{"image": "better", "mode": "global"`+fields+`}`)
		w.settle()
		if got := w.running("x", "log"); !maps.Equal(got, map[string]int{"10.0.0.1": 1, "10.0.0.2": 1, "10.0.0.3": 1}) {
			t.Errorf("%s: runs on %v", fields, got)
		}
		if s := w.status("x", "log"); s.Healthy != 3 || s.State != schedule.StateRunning || s.Revision != 2 {
			t.Errorf("%s: status: %+v", fields, s)
		}
	}
}
