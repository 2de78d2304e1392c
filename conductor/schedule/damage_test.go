package schedule_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule"
)

// What somebody damages by hand is mended without touching what runs.

func TestUnreadableSlotIsRebuiltFromWhatRuns(t *testing.T) {
	for name, manifest := range map[string]string{"as before": fmt.Sprintf(nginx, 2), "refused": "{"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.put("dummy", "nginx", fmt.Sprintf(nginx, 2))
			w.settle()
			before := ids(w.seen)
			w.put("dummy", "nginx", manifest)
			w.write("/apps/dummy/nginx/hosts/1", "garbage")
			w.schedule()
			w.settle()
			if !maps.Equal(before, ids(w.seen)) {
				t.Errorf("runs %v, before %v", ids(w.seen), before)
			}
			if s := w.status("dummy", "nginx"); s.Healthy != 2 {
				t.Errorf("status: %+v", s)
			}
		})
	}
}

func TestUnreadableRevisionMakesAnother(t *testing.T) {
	w := newWorld(t, 2)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 1))
	w.settle()
	w.write("/apps/dummy/nginx/revisions/1", "garbage")
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 2))
	w.settle()
	if s := w.status("dummy", "nginx"); s.State != schedule.StateRunning || s.Healthy != 2 || s.Revision != 2 {
		t.Errorf("status: %+v", s)
	}
}

func TestRefusedManifestWithoutAnyRevisionTouchesNothing(t *testing.T) {
	w := newWorld(t, 2)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 2))
	w.settle()
	before := ids(w.seen)
	delete(w.keys, "/apps/dummy/nginx/revisions/1")
	w.put("dummy", "nginx", "{")
	w.settle()
	if !maps.Equal(before, ids(w.seen)) {
		t.Errorf("runs %v, before %v", ids(w.seen), before)
	}
}

func TestStatusOfManySlotsIsShort(t *testing.T) {
	w := newWorld(t, 2)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 1000))
	w.settle()
	s := w.status("dummy", "nginx")
	if s.Healthy != 1000 || len(s.Slots) != 200 || s.More != 800 {
		t.Errorf("%d healthy, %d slots shown, %d more", s.Healthy, len(s.Slots), s.More)
	}
}

func TestStoppingIsNotRunning(t *testing.T) {
	w := newWorld(t, 1)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 1))
	w.settle()
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 0))
	w.schedule()
	if s := w.status("dummy", "nginx"); s.State != schedule.StateStopping {
		t.Errorf("status: %+v", s)
	}
}

// A host that the cluster was made to forget is as good as lost.
func TestSlotOfAHostThatIsForgottenMoves(t *testing.T) {
	w := newWorld(t, 3)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 3))
	w.settle()
	delete(w.hosts, "10.0.0.2")
	maps.DeleteFunc(w.seen, func(_ string, o schedule.Observed) bool { return o.Host == "10.0.0.2" })
	w.settle()
	if got := w.running("dummy", "nginx"); got["10.0.0.1"]+got["10.0.0.3"] != 3 {
		t.Errorf("runs on %v", got)
	}
}
