package agent

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

var (
	now  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	refN = state.Ref{App: "dummy", Name: "nginx"}
)

func wantedInstance(id string, next bool) Desired {
	return Desired{Next: next, Spec: engine.Spec{Ref: refN, Slot: 1, Instance: id, Name: "dummy---nginx", Image: "nginx", Ports: []engine.Port{engine.TCP(80)}}}
}

func container(id, name string, status engine.Status) engine.Container {
	return engine.Container{Ref: refN, Slot: 1, Instance: id, ID: "c-" + id, Name: name, Status: status, Detail: "Exited (137) 2 seconds ago"}
}

func TestCompute(t *testing.T) {
	const canonical = "dummy---nginx"
	tests := map[string]struct {
		unknown    bool
		desired    []Desired
		containers []engine.Container
		memory     map[string]Memory
		want       []string // "<kind> <instance> <name>: <reason>"
		wake       time.Time
	}{
		"nothing": {},
		"assigned, not there": {desired: []Desired{wantedInstance("a", false)},
			want: []string{"run a dummy---nginx: assigned here but not running"}},
		"a next starts under another name": {desired: []Desired{wantedInstance("a", false), wantedInstance("b", true)},
			containers: []engine.Container{container("a", canonical, engine.StatusRunning)},
			want:       []string{"run b dummy---nginx---next-b: assigned here but not running"}},
		"name still taken": {desired: []Desired{wantedInstance("b", false)},
			containers: []engine.Container{container("a", canonical, engine.StatusRunning)},
			want: []string{"remove a : running but not assigned here",
				"run b dummy---nginx---next-b: assigned here but not running"}},
		"runs": {desired: []Desired{wantedInstance("a", false)},
			containers: []engine.Container{container("a", canonical, engine.StatusRunning)}},
		"created, not started": {desired: []Desired{wantedInstance("a", false)},
			containers: []engine.Container{container("a", canonical, engine.StatusCreated)},
			want:       []string{"restart a : assigned here but not running"}},
		"exited": {desired: []Desired{wantedInstance("a", false)},
			containers: []engine.Container{container("a", canonical, engine.StatusExited)},
			want:       []string{"restart a : exited with code 137: killed, by hand or for lack of memory"}},
		"exited, waits": {desired: []Desired{wantedInstance("a", false)}, memory: map[string]Memory{"a": {NotBefore: now.Add(time.Second)}},
			containers: []engine.Container{container("a", canonical, engine.StatusExited)}, wake: now.Add(time.Second)},
		"busy": {desired: []Desired{wantedInstance("a", false)}, memory: map[string]Memory{"a": {Busy: true}}},
		"became current": {desired: []Desired{wantedInstance("b", false)},
			containers: []engine.Container{container("b", canonical+"---next-b", engine.StatusRunning)},
			want:       []string{"rename b dummy---nginx: became the slot's current instance"}},
		"not assigned": {containers: []engine.Container{container("a", canonical, engine.StatusRunning)},
			want: []string{"remove a : running but not assigned here"}},
		"not assigned, exited": {containers: []engine.Container{container("a", canonical, engine.StatusExited)},
			want: []string{"remove a : running but not assigned here"}},
		"unknown is not empty": {unknown: true, containers: []engine.Container{container("a", canonical, engine.StatusRunning)}},
		"unknown, but exited": {unknown: true, desired: []Desired{wantedInstance("a", false)},
			containers: []engine.Container{container("a", canonical, engine.StatusExited)},
			want:       []string{"restart a : exited with code 137: killed, by hand or for lack of memory"}},
		"paused by hand": {desired: []Desired{wantedInstance("a", false)},
			containers: []engine.Container{container("a", canonical, engine.StatusPaused)}},
		"twice": {desired: []Desired{wantedInstance("a", false)},
			containers: []engine.Container{container("a", "x", engine.StatusExited), container("a", canonical, engine.StatusRunning)},
			want:       []string{"remove a : a second container of the same instance"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := Input{Now: now, Known: !test.unknown, Desired: map[string]Desired{}, Containers: test.containers, Memory: test.memory}
			for _, d := range test.desired {
				in.Desired[d.Instance] = d
			}
			actions, wake := Compute(in)
			var got []string
			for _, a := range actions {
				got = append(got, fmt.Sprintf("%s %s %s: %s", a.Kind, a.Instance, a.Name, a.Reason))
			}
			if !slices.Equal(got, test.want) || !wake.Equal(test.wake) {
				t.Errorf("got  %q, wake %v\nwant %q, wake %v", got, wake, test.want, test.wake)
			}
		})
	}
}

// TestComputeProperties carries random plans out on a model of Docker: they end, with every
// desired instance running under the right name, and take nothing away while the store is unknown.
func TestComputeProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ids := []string{"a", "b", "c", "d"}
		in := Input{Now: now, Known: rapid.Bool().Draw(r, "known"), Desired: map[string]Desired{}}
		slots := map[int]bool{}
		for _, id := range ids {
			if rapid.Bool().Draw(r, "wanted "+id) {
				slot := rapid.IntRange(1, 2).Draw(r, "slot")
				d := wantedInstance(id, slots[slot]) // the second of a slot is its next
				d.Slot, d.Spec.Name = slot, fmt.Sprintf("n%d", slot)
				slots[slot] = true
				in.Desired[id] = d
			}
			if rapid.Bool().Draw(r, "there "+id) {
				status := rapid.SampledFrom([]engine.Status{engine.StatusRunning, engine.StatusExited, engine.StatusCreated, engine.StatusDead}).Draw(r, "status")
				in.Containers = append(in.Containers, container(id, rapid.SampledFrom([]string{"n1-" + id, "n2-" + id}).Draw(r, "name"), status))
			}
		}
		before := len(in.Containers)
		for range 10 {
			actions, _ := Compute(in)
			if len(actions) == 0 {
				break
			}
			for _, a := range actions {
				carryOut(&in, a)
			}
		}
		if actions, _ := Compute(in); len(actions) > 0 {
			r.Fatalf("never ends: %+v", actions)
		}
		if !in.Known && len(in.Containers) < before { // what was dead was made anew
			r.Fatal("took containers away while the store was unknown")
		}
		for id, d := range in.Desired {
			i := slices.IndexFunc(in.Containers, func(c engine.Container) bool { return c.Instance == id })
			if i < 0 || in.Containers[i].Status != engine.StatusRunning {
				r.Fatalf("%s does not run", id)
			}
			if !d.Next && in.Containers[i].Name != d.Spec.Name {
				r.Fatalf("%s is called %s", id, in.Containers[i].Name)
			}
		}
	})
}

func carryOut(in *Input, a Action) {
	at := func(c engine.Container) bool { return c.Instance == a.Instance }
	switch a.Kind {
	case Remove:
		in.Containers = slices.DeleteFunc(in.Containers, func(c engine.Container) bool {
			return c.ID == a.Container.ID && (in.Known || c.Status == engine.StatusDead)
		})
	case Rename:
		in.Containers[slices.IndexFunc(in.Containers, at)].Name = a.Name
	case Restart:
		in.Containers[slices.IndexFunc(in.Containers, at)].Status = engine.StatusRunning
	case Run:
		in.Containers = append(in.Containers, engine.Container{Ref: a.Desired.Ref, Instance: a.Instance, ID: "c-" + a.Instance, Name: a.Name, Status: engine.StatusRunning})
	}
}
