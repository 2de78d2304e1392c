package schedule_test

import (
	"maps"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// What waits for a lost host's volume starts elsewhere, with an empty one, once the operator has the
// cluster forget the volume.
func TestForgottenVolumeIsNotWaitedFor(t *testing.T) {
	for mode, test := range map[string]struct {
		volumes map[string]string // Docker's name -> the key's value
		scale   string
		want    int
	}{
		"single-writer": {map[string]string{"a---db---data": `{"app": "a", "name": "db", "slot": 1, "volume": "data"}`}, "1", 1},
		"single-host":   {map[string]string{"a---db---data": `{"app": "a", "name": "db", "volume": "data"}`}, "2", 2},
	} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, 3)
			w.put("a", "db", `{"image": "x", "scale": `+test.scale+`, "volumes": [{"name": "data", "path": "/data", "access_mode": "`+mode+`"}]}`)
			w.settle()
			for name, value := range test.volumes {
				w.write(state.VolumeKey("10.0.0.1", name), value)
			}
			w.settle()
			if got := w.running("a", "db"); !maps.Equal(got, map[string]int{"10.0.0.1": test.want}) {
				t.Fatalf("runs on %v", got)
			}
			w.set("10.0.0.1", schedule.Lost)
			w.settle()
			if got, status := w.running("a", "db"), w.status("a", "db"); len(got) > 0 || status.Slots[0].Reason != "waits for host 10.0.0.1, which has volume data" {
				t.Errorf("with its host lost it runs on %v: %+v", got, status)
			}
			for name := range test.volumes {
				delete(w.keys, state.VolumeKey("10.0.0.1", name))
			}
			w.settle()
			got := w.running("a", "db")
			if len(got) != 1 || got["10.0.0.1"] > 0 || got["10.0.0.2"]+got["10.0.0.3"] != test.want {
				t.Errorf("after the volume was forgotten it runs on %v", got)
			}
		})
	}
}
