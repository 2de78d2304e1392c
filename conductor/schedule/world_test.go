package schedule_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

// world is a store and the hosts around it, without any I/O.
type world struct {
	t     testing.TB
	keys  map[string]schedule.Node
	index uint64
	hosts map[string]schedule.Host
	seen  map[string]schedule.Observed
	ids   int
	sick  map[string]bool // images whose instances never get healthy
}

func newWorld(t testing.TB, hosts int) *world {
	w := &world{t: t, keys: map[string]schedule.Node{}, hosts: map[string]schedule.Host{}, seen: map[string]schedule.Observed{}, sick: map[string]bool{}}
	for i := 1; i <= hosts; i++ {
		w.join(fmt.Sprintf("10.0.0.%d", i))
	}
	return w
}

func (w *world) join(ip string) { w.hosts[ip] = schedule.Host{Host: state.Host{IP: ip}} }

func (w *world) set(ip string, liveness schedule.Liveness) {
	h := w.hosts[ip]
	h.Liveness = liveness
	w.hosts[ip] = h
}

func (w *world) put(app, name, manifest string) {
	w.write(state.Ref{App: app, Name: name}.ManifestKey(), manifest)
}

func (w *world) write(key, value string) {
	w.index++
	created := w.index
	if old, ok := w.keys[key]; ok {
		created = old.Created
	}
	w.keys[key] = schedule.Node{Key: key, Value: value, Created: created, Modified: w.index}
}

// input is what the scheduler would see now.
func (w *world) input() schedule.Input {
	observed := map[string]schedule.Observed{}
	for id, o := range w.seen {
		if w.hosts[o.Host].Liveness != schedule.Lost {
			observed[id] = o
		}
	}
	return schedule.Input{Hosts: maps.Clone(w.hosts), Observed: observed, NewID: func() string { w.ids++; return fmt.Sprintf("id%d", w.ids) },
		Apps: schedule.ReadApps(func(yield func(schedule.Node) bool) {
			for _, key := range slices.Sorted(maps.Keys(w.keys)) {
				if !yield(w.keys[key]) {
					return
				}
			}
		})}
}

// schedule plans, checks that the plan obeys the rules, and carries it out.
func (w *world) schedule() []schedule.Change {
	w.t.Helper()
	plan := schedule.Compute(w.input())
	for _, change := range plan {
		if change.Reason == "" {
			w.t.Fatalf("%v has no reason", change)
		}
		w.apply(change)
	}
	if again := schedule.Compute(w.input()); len(again) > 0 {
		w.t.Fatalf("planning on the result of the plan gives %+v\nafter %+v", again, plan)
	}
	return plan
}

func (w *world) apply(change schedule.Change) {
	w.t.Helper()
	old, there := w.keys[change.Key]
	switch change.Kind {
	case schedule.Put:
		w.write(change.Key, change.Value)
	case schedule.Create:
		if there {
			w.t.Fatalf("create %s: is there", change.Key)
		}
		w.write(change.Key, change.Value)
	case schedule.Swap:
		if old.Modified != change.PrevIndex || !there {
			w.t.Fatalf("swap %s: is at %d, not %d", change.Key, old.Modified, change.PrevIndex)
		}
		w.checkSlot(change.Key, old.Value, change.Value)
		w.write(change.Key, change.Value)
	case schedule.Delete:
		if !there || change.PrevIndex != 0 && old.Modified != change.PrevIndex {
			w.t.Fatalf("delete %s: is at %d, not %d", change.Key, old.Modified, change.PrevIndex)
		}
		delete(w.keys, change.Key)
	case schedule.Prune:
	}
}

// checkSlot: new assignments are on hosts that are alive.
func (w *world) checkSlot(key, before, after string) {
	var from, to state.Slot
	if json.Unmarshal([]byte(before), &from) != nil {
		from = state.Slot{} // a test wrote garbage
	}
	if err := json.Unmarshal([]byte(after), &to); err != nil {
		w.t.Fatalf("%s: %v", key, err)
	}
	old := map[string]bool{}
	for _, a := range []*state.Assignment{from.Current, from.Next} {
		if a != nil {
			old[a.Instance] = true
		}
	}
	for _, a := range []*state.Assignment{to.Current, to.Next} {
		if a != nil && !old[a.Instance] && w.hosts[a.Host].Liveness != schedule.Alive {
			w.t.Fatalf("%s: assigned to %s, which is not alive", key, a.Host)
		}
	}
}

// work lets every host that is alive do what its slots say.
func (w *world) work() {
	wanted := map[string]bool{}
	for key, node := range w.keys {
		k, ok := state.ParseAppKey(key)
		if !ok || k.Kind != "hosts" {
			continue
		}
		var slot state.Slot
		if err := json.Unmarshal([]byte(node.Value), &slot); err != nil {
			w.t.Fatal(err)
		}
		for _, a := range []*state.Assignment{slot.Current, slot.Next} {
			if a == nil || w.hosts[a.Host].Liveness != schedule.Alive {
				continue
			}
			wanted[a.Instance] = true
			phase, reason := state.PhaseHealthy, ""
			if strings.Contains(w.keys[k.RevisionKey(a.Revision)].Value, "sick") {
				phase, reason = state.PhaseFailed, "sick"
			}
			w.seen[a.Instance] = schedule.Observed{Host: a.Host, Observed: state.Observed{Ref: k.Ref, Slot: k.Item, Revision: a.Revision, Phase: phase, Reason: reason}}
		}
	}
	for id, o := range w.seen {
		if !wanted[id] && w.hosts[o.Host].Liveness == schedule.Alive {
			delete(w.seen, id)
		}
	}
}

// settle schedules and works until nothing changes any more.
func (w *world) settle() {
	w.t.Helper()
	for range 200 {
		before := w.index
		w.schedule()
		w.work()
		if len(schedule.Compute(w.input())) == 0 && w.index == before {
			return
		}
	}
	w.t.Fatal("does not settle")
}

// running is how many healthy instances of a container each host has that is alive.
func (w *world) running(app, name string) map[string]int {
	counts := map[string]int{}
	for _, o := range w.seen {
		if (o.Ref == state.Ref{App: app, Name: name}) && o.Phase == state.PhaseHealthy && w.hosts[o.Host].Liveness == schedule.Alive {
			counts[o.Host]++
		}
	}
	return counts
}

func (w *world) status(app, name string) state.Status {
	w.t.Helper()
	var s state.Status
	if err := json.Unmarshal([]byte(w.keys[state.Ref{App: app, Name: name}.StatusKey()].Value), &s); err != nil {
		w.t.Fatalf("status of %s/%s: %v", app, name, err)
	}
	return s
}

// keysOf are the keys that stand below a container's directory.
func (w *world) keysOf(app, name string) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(w.keys)) {
		if strings.HasPrefix(key, state.Ref{App: app, Name: name}.Dir()+"/") {
			keys = append(keys, key)
		}
	}
	return keys
}

func nodesOf(w *world) func(yield func(schedule.Node) bool) {
	return func(yield func(schedule.Node) bool) {
		for _, node := range w.keys {
			if !yield(node) {
				return
			}
		}
	}
}
