package schedule_test

import (
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// TestUpdateWithALostHost: an instance that waits for its lost host does not make an update fail.
// It is updated when its host is back.
func TestUpdateWithALostHost(t *testing.T) {
	for name, fields := range map[string]string{
		"global":     `"mode": "global"`,
		"volume":     `"scale": 3, "volumes": [{"name": "data", "path": "/data"}]`,
		"no replace": `"scale": 3, "disconnect": {"replace": false}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			w.put("x", "log", `{"image": "good", `+fields+`}`)
			w.settle()
			if name == "volume" {
				for key, slot := range w.slots() {
					k, _ := state.ParseAppKey(key)
					name := manifest.Volume{Name: "data", AccessMode: manifest.SingleWriter}.DockerName(k.App, k.Name, k.Item)
					w.write(state.VolumeKey(slot.Current.Host, name), marshal(t, state.Volume{Ref: k.Ref, Slot: k.Item, Volume: "data"}))
				}
			}
			w.set("10.0.0.2", schedule.Lost)
			w.settle()
			w.put("x", "log", `{"image": "better", `+fields+`}`)
			w.settle()
			w.now = w.now.Add(time.Hour)
			w.settle()
			s := w.status("x", "log")
			if s.Revision != 2 || s.Healthy != 2 || s.State != schedule.StatePending || s.Rollout != nil {
				t.Fatalf("status: %+v", s)
			}
			if r := w.revision("x", "log", 2); r.Verdict != state.VerdictHealthy {
				t.Errorf("revision 2: %s %s", r.Verdict, r.Reason)
			}
			w.set("10.0.0.2", schedule.Alive)
			w.settle()
			if s := w.status("x", "log"); s.Healthy != 3 || s.State != schedule.StateRunning || w.revisions("x", "log")[2] != 3 {
				t.Errorf("the host is back: %+v", s)
			}
		})
	}
}

// TestUpdateThatWasNotTriedAnywhere: nothing is known of a revision while all hosts are lost.
func TestUpdateThatWasNotTriedAnywhere(t *testing.T) {
	w := newWorld(t, 5)
	w.put("x", "db", with("good", 1, `"disconnect": {"replace": false}`))
	w.settle()
	w.set("10.0.0.1", schedule.Lost)
	w.put("x", "db", with("better", 1, `"disconnect": {"replace": false}`))
	w.settle()
	if r := w.revision("x", "db", 2); r.Verdict != "" {
		t.Errorf("revision 2: %s %s", r.Verdict, r.Reason)
	}
}
