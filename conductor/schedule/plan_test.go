package schedule_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	nginx   = `{"image": "nginx", "scale": %d, "services": {"nginx": 80}}`
	crawler = `{"image": "ubuntu", "links": ["nginx"]}`
)

func TestTwoContainersShareTwoHosts(t *testing.T) {
	w := newWorld(t, 2)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 1))
	w.settle()
	w.put("dummy", "crawler", crawler)
	w.settle()
	a, b := w.running("dummy", "nginx"), w.running("dummy", "crawler")
	if !maps.Equal(a, map[string]int{"10.0.0.1": 1}) || !maps.Equal(b, map[string]int{"10.0.0.2": 1}) {
		t.Errorf("nginx on %v, crawler on %v", a, b)
	}
}

func TestScale(t *testing.T) {
	w := newWorld(t, 2)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 1))
	w.put("dummy", "crawler", crawler)
	w.settle()
	first := maps.Clone(w.seen)

	w.put("dummy", "nginx", fmt.Sprintf(nginx, 4))
	w.settle()
	if got := w.running("dummy", "nginx"); !maps.Equal(got, map[string]int{"10.0.0.1": 2, "10.0.0.2": 2}) {
		t.Errorf("scale 4 runs on %v", got)
	}
	for id := range first {
		if _, still := w.seen[id]; !still {
			t.Errorf("instance %s was replaced by a change of scale", id)
		}
	}

	w.put("dummy", "nginx", fmt.Sprintf(nginx, 0))
	w.settle()
	if got := w.running("dummy", "nginx"); len(got) != 0 {
		t.Errorf("scale 0 runs on %v", got)
	}
	if s := w.status("dummy", "nginx"); s.State != schedule.StateStopped || s.Wanted != 0 {
		t.Errorf("status of scale 0: %+v", s)
	}

	w.put("dummy", "nginx", fmt.Sprintf(nginx, 1))
	w.settle()
	if got := w.running("dummy", "nginx"); len(got) != 1 {
		t.Errorf("back to scale 1 runs on %v", got)
	}
}

func TestRemovalLeavesNoKeys(t *testing.T) {
	w := newWorld(t, 2)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 3))
	w.settle()
	delete(w.keys, "/apps/dummy/nginx/manifest")

	w.schedule()
	if keys := w.keysOf("dummy", "nginx"); len(keys) == 0 {
		t.Error("slot keys went before their instances")
	}
	w.settle()
	if keys := w.keysOf("dummy", "nginx"); len(keys) > 0 {
		t.Errorf("left: %q", keys)
	}
	if len(w.seen) > 0 {
		t.Errorf("runs on: %v", w.seen)
	}
}

func TestBadManifestKeepsThePreviousRevision(t *testing.T) {
	for name, bad := range map[string]string{
		"no JSON": "{", "unknown field": `{"image": "x", "scael": 2}`, "negative scale": `{"image": "x", "scale": -1}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.put("dummy", "nginx", fmt.Sprintf(nginx, 2))
			w.settle()
			before := maps.Clone(w.seen)

			w.put("dummy", "nginx", bad)
			w.settle()
			if !maps.Equal(ids(before), ids(w.seen)) {
				t.Errorf("runs %v, before %v", ids(w.seen), ids(before))
			}
			if s := w.status("dummy", "nginx"); len(s.Errors) == 0 || s.Revision != 1 || s.Healthy != 2 || s.Wanted != 2 {
				t.Errorf("status: %+v", s)
			}

			w.set("10.0.0.2", schedule.Lost) // what it keeps, it keeps alive
			w.settle()
			if got := w.running("dummy", "nginx"); !maps.Equal(got, map[string]int{"10.0.0.1": 2}) {
				t.Errorf("after the loss of a host: %v", got)
			}
		})
	}
}

func ids(seen map[string]schedule.Observed) map[string]bool {
	all := map[string]bool{}
	for id := range seen {
		all[id] = true
	}
	return all
}

func TestBadManifestsSayWhy(t *testing.T) {
	w := newWorld(t, 1)
	long := strings.Repeat("n", 300)
	w.put("dummy", long, `{"image": "x", "scale": -1}`)
	w.settle()
	s := w.status("dummy", long)
	want := []string{"name: is 300 characters long, at most 63 are allowed", "scale: must be between 0 and 10000, is -1"}
	if s.State != schedule.StateRefused || !slices.Equal(s.Errors, want) {
		t.Errorf("status: %+v", s)
	}
}

func TestServiceBelongsToOneContainer(t *testing.T) {
	w := newWorld(t, 1)
	w.put("dummy", "z", fmt.Sprintf(nginx, 1))
	w.settle()
	w.put("dummy", "a", fmt.Sprintf(nginx, 1))
	w.put("other", "a", fmt.Sprintf(nginx, 1))
	w.settle()
	if s := w.status("dummy", "a"); s.State != schedule.StateRefused ||
		!slices.Equal(s.Errors, []string{`services.nginx: container "z" of the app offers a service of this name already`}) {
		t.Errorf("the later one: %+v", s)
	}
	for _, ref := range []state.Ref{{App: "dummy", Name: "z"}, {App: "other", Name: "a"}} {
		if s := w.status(ref.App, ref.Name); s.State != schedule.StateRunning {
			t.Errorf("%s: %+v", ref, s)
		}
	}
	delete(w.keys, "/apps/dummy/z/manifest")
	w.settle()
	if s := w.status("dummy", "a"); s.State != schedule.StateRunning {
		t.Errorf("after the owner went: %+v", s)
	}
}

func TestUpdateStartsBeforeItStops(t *testing.T) {
	w := newWorld(t, 2)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 3))
	w.settle()
	w.put("dummy", "nginx", `{"image": "nginx:2", "scale": 3, "services": {"nginx": 80}}`)
	for range 20 {
		w.schedule()
		healthy := 0
		for _, n := range w.running("dummy", "nginx") {
			healthy += n
		}
		if healthy < 3 || healthy > 4 {
			t.Fatalf("%d healthy instances during an update of 3", healthy)
		}
		w.work()
	}
	if s := w.status("dummy", "nginx"); s.State != schedule.StateRunning || s.Revision != 2 || s.Slots[2].Revision != 2 {
		t.Errorf("status: %+v", s)
	}
	if got := w.running("dummy", "nginx"); !maps.Equal(got, map[string]int{"10.0.0.1": 2, "10.0.0.2": 1}) {
		t.Errorf("the update moved instances: %v", got)
	}
}

func TestUpdateThatNeverGetsHealthyKeepsThePrevious(t *testing.T) {
	w := newWorld(t, 2)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 2))
	w.settle()
	before := ids(w.seen)
	w.put("dummy", "nginx", `{"image": "sick", "scale": 2, "services": {"nginx": 80}}`)
	w.settle()
	s := w.status("dummy", "nginx")
	if s.Healthy != 2 || s.State != schedule.StateUpdating || s.Slots[0].Revision != 1 || !strings.Contains(s.Slots[0].Next, "sick") {
		t.Errorf("status: %+v", s)
	}
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 2))
	w.settle()
	if s := w.status("dummy", "nginx"); s.State != schedule.StateRunning || s.Healthy != 2 || s.Slots[0].Next != "" {
		t.Errorf("after the former manifest: %+v", s)
	}
	if got := ids(w.seen); !maps.Equal(got, before) {
		t.Errorf("runs %v, before %v: what asks for the same needs no new container", got, before)
	}
}

func TestHostLoss(t *testing.T) {
	w := newWorld(t, 3)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 3))
	w.settle()

	w.set("10.0.0.2", schedule.Missing)
	if plan := w.schedule(); slices.ContainsFunc(plan, func(c schedule.Change) bool { return c.Kind == schedule.Swap }) {
		t.Errorf("moved before the host was surely lost: %+v", plan)
	}
	w.set("10.0.0.2", schedule.Lost)
	w.settle()
	if got := w.running("dummy", "nginx"); got["10.0.0.1"]+got["10.0.0.3"] != 3 {
		t.Errorf("after the loss: %v", got)
	}
	w.set("10.0.0.2", schedule.Alive)
	w.settle()
	total := 0
	for _, n := range w.running("dummy", "nginx") {
		total += n
	}
	if total != 3 {
		t.Errorf("%d instances after the host came back", total)
	}
}

func TestHostBackBeforeItsReplacementIsHealthyKeepsItsOwn(t *testing.T) {
	w := newWorld(t, 3)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 3))
	w.settle()
	before := ids(w.seen)
	w.set("10.0.0.2", schedule.Lost)
	w.schedule() // the replacement is assigned, but not up yet
	w.set("10.0.0.2", schedule.Alive)
	w.schedule()
	w.settle()
	if !maps.Equal(before, ids(w.seen)) {
		t.Errorf("runs %v, before %v", ids(w.seen), before)
	}
}

func TestTooManyHostsLostMovesNothing(t *testing.T) {
	w := newWorld(t, 5)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 5))
	w.settle()
	for i := 1; i <= 3; i++ {
		w.set(fmt.Sprintf("10.0.0.%d", i), schedule.Lost)
	}
	plan := w.schedule()
	if slices.ContainsFunc(plan, func(c schedule.Change) bool { return c.Kind == schedule.Swap }) {
		t.Errorf("moved with 3 of 5 hosts lost: %+v", plan)
	}
	if s := w.status("dummy", "nginx"); !strings.Contains(s.Slots[0].Reason, "nothing is moved") {
		t.Errorf("status: %+v", s)
	}
}

func TestNoHostSaysWhy(t *testing.T) {
	w := newWorld(t, 0)
	w.put("dummy", "nginx", fmt.Sprintf(nginx, 1))
	w.settle()
	if s := w.status("dummy", "nginx"); s.State != schedule.StatePending || s.Slots[0].Reason != "no suitable host (no host has joined)" {
		t.Errorf("status: %+v", s)
	}
	w.join("10.0.0.1")
	w.hosts["10.0.0.1"] = schedule.Host{Host: state.Host{IP: "10.0.0.1", Condition: "Docker does not answer"}}
	w.settle()
	if s := w.status("dummy", "nginx"); s.Slots[0].Reason != "no suitable host (1: Docker does not answer)" {
		t.Errorf("status: %+v", s)
	}
	w.join("10.0.0.1")
	w.settle()
	if s := w.status("dummy", "nginx"); s.State != schedule.StateRunning {
		t.Errorf("status: %+v", s)
	}
}

// TestProperties throws random manifests and faults at the planner. world.schedule checks each
// plan; here it is checked where they lead to.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, rapid.IntRange(1, 6).Draw(r, "hosts"))
		names := []string{"a", "b", "c"}
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			name := rapid.SampledFrom(names).Draw(r, "name")
			switch rapid.SampledFrom([]string{"put", "update", "remove", "bad", "lose", "return", "work", "settle"}).Draw(r, "step") {
			case "put":
				w.put("x", name, fmt.Sprintf(`{"image": "i", "scale": %d}`, rapid.IntRange(0, 7).Draw(r, "scale")))
			case "update":
				w.put("x", name, fmt.Sprintf(`{"image": "i%d", "scale": 3}`, rapid.IntRange(0, 3).Draw(r, "image")))
			case "remove":
				delete(w.keys, "/apps/x/"+name+"/manifest")
			case "bad":
				w.put("x", name, `{"scale": -1}`)
			case "lose":
				w.set(rapid.SampledFrom(slices.Sorted(maps.Keys(w.hosts))).Draw(r, "host"), schedule.Lost)
			case "return":
				w.set(rapid.SampledFrom(slices.Sorted(maps.Keys(w.hosts))).Draw(r, "host"), schedule.Alive)
			case "work":
				w.work()
			case "settle":
				w.settle()
			}
			w.schedule()
			w.checkBounds(names)
		}
		for ip := range w.hosts {
			w.set(ip, schedule.Alive)
		}
		w.settle()
		w.checkSettled(names)
	})
}

// checkBounds: at most one current and one next instance per slot, and no two of one id.
func (w *world) checkBounds(names []string) {
	used := map[string]string{}
	for key, slot := range w.slots() {
		for _, a := range []*state.Assignment{slot.Current, slot.Next} {
			if a == nil {
				continue
			}
			if other, twice := used[a.Instance]; twice {
				w.t.Fatalf("instance %s is in %s and in %s", a.Instance, other, key)
			}
			used[a.Instance] = key
		}
	}
}

// checkSettled: what is wanted runs, once, and balanced as far as nothing had to be moved for it.
func (w *world) checkSettled(names []string) {
	for _, name := range names {
		if _, there := w.keys["/apps/x/"+name+"/manifest"]; !there {
			if keys := w.keysOf("x", name); len(keys) > 0 {
				w.t.Fatalf("removed, but left %q", keys)
			}
			continue
		}
		s := w.status("x", name)
		running := 0
		for _, n := range w.running("x", name) {
			running += n
		}
		if running != s.Wanted || s.Healthy != s.Wanted {
			w.t.Fatalf("%s: %d run, status %+v", name, running, s)
		}
	}
}
