package schedule_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

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
	now   time.Time
	// sick says why an instance will not get healthy, "" if it will; nil: by the image's name
	sick func(k state.AppKey, a *state.Assignment) string

	planner *schedule.Planner
	told    map[string]schedule.Node // what the planner knows
}

func newWorld(t testing.TB, hosts int) *world {
	w := &world{t: t, keys: map[string]schedule.Node{}, hosts: map[string]schedule.Host{}, seen: map[string]schedule.Observed{},
		now: time.Date(2014, 6, 1, 12, 0, 0, 0, time.UTC), told: map[string]schedule.Node{}}
	w.planner = schedule.NewPlanner(w.newID)
	for i := 1; i <= hosts; i++ {
		w.join(fmt.Sprintf("10.0.0.%d", i))
	}
	return w
}

func (w *world) newID() string { w.ids++; return fmt.Sprintf("id%d", w.ids) }

func (w *world) join(ip string) { w.hosts[ip] = schedule.Host{Host: state.Host{IP: ip}} }

func (w *world) set(ip string, liveness schedule.Liveness) {
	h := w.hosts[ip]
	h.Liveness, h.Silent, h.Gone = liveness, w.now, w.now
	if liveness == schedule.Alive {
		h.Silent, h.Gone = time.Time{}, time.Time{}
	}
	w.hosts[ip] = h
}

func (w *world) allow(ip string, availability state.Availability) {
	h := w.hosts[ip]
	h.Availability = availability
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

// all are the keys, and those of hosts.
func (w *world) all() map[string]schedule.Node {
	all := maps.Clone(w.keys)
	for id, o := range w.seen {
		value, err := json.Marshal(o.Observed)
		if err != nil {
			w.t.Fatal(err)
		}
		key := state.InstanceKey(o.Host, id)
		all[key] = schedule.Node{Key: key, Value: string(value)}
	}
	return all
}

// tell tells the planner what changed.
func (w *world) tell() {
	all := w.all()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if w.told[key] != all[key] {
			w.planner.Set(all[key], w.now)
		}
	}
	for key := range w.told {
		if _, there := all[key]; !there {
			w.planner.Unset(key)
		}
	}
	w.told = all
	w.planner.SetHosts(maps.Clone(w.hosts))
}

// plan is what the planner plans that was told of every change.
func (w *world) plan() []schedule.Change {
	w.tell()
	changes, _ := w.planner.Plan(w.now)
	return changes
}

// planAnew is what a planner plans that has just begun.
func (w *world) planAnew() []schedule.Change {
	p := schedule.NewPlanner(w.newID)
	all := w.all()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		p.Set(all[key], w.now)
	}
	p.SetHosts(maps.Clone(w.hosts))
	changes, _ := p.Plan(w.now)
	return changes
}

// schedule plans, checks that the plan obeys the rules, and carries it out.
func (w *world) schedule() []schedule.Change {
	w.t.Helper()
	plan := w.plan()
	for _, change := range plan {
		if change.Reason == "" {
			w.t.Fatalf("%v has no reason", change)
		}
		w.apply(change)
	}
	if again := w.plan(); len(again) > 0 {
		w.t.Fatalf("planning on the result of the plan gives %+v\nafter %+v", again, plan)
	}
	if again := w.planAnew(); len(again) > 0 {
		w.t.Fatalf("planning anew on the result of the plan gives %+v\nafter %+v", again, plan)
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
			w.seen[a.Instance] = schedule.Observed{Host: a.Host, Observed: w.behave(k, a)}
		}
	}
	for id, o := range w.seen {
		if !wanted[id] && w.hosts[o.Host].Liveness == schedule.Alive {
			delete(w.seen, id)
		}
	}
}

// behave is how an instance is: images tell. A sick one never gets healthy, of a bad one its host
// knows that, and a job ends.
func (w *world) behave(k state.AppKey, a *state.Assignment) state.Observed {
	o := state.Observed{Ref: k.Ref, Slot: k.Item, Revision: a.Revision, Phase: state.PhaseHealthy, Steady: true, Image: "sha256:1"}
	revision := w.keys[k.RevisionKey(a.Revision)].Value
	if w.sick != nil {
		if why := w.sick(k, a); why != "" {
			o.Phase, o.Reason, o.Steady, o.GaveUp = state.PhaseFailed, why, false, true
			return o
		}
	}
	switch {
	case strings.Contains(revision, `"sick"`):
		o.Phase, o.Reason, o.Steady = state.PhaseFailed, "sick", false
	case strings.Contains(revision, `"bad"`):
		o.Phase, o.Reason, o.Steady, o.GaveUp, o.Image = state.PhaseFailed, "there is no such image", false, true, ""
	case a.Run != "" && !strings.Contains(revision, `"long"`):
		code := 0
		if strings.Contains(revision, `"failing"`) {
			code = 3
		}
		o.Phase, o.ExitCode, o.Steady = state.PhaseEnded, &code, false
	}
	return o
}

// settle schedules and works until nothing changes any more.
func (w *world) settle() {
	w.t.Helper()
	for range 200 {
		before := w.index
		w.schedule()
		w.work()
		if len(w.planAnew()) == 0 && w.index == before {
			return
		}
	}
	w.t.Fatal("does not settle")
}

// slots are all slots that can be read, by key.
func (w *world) slots() map[string]state.Slot {
	all := map[string]state.Slot{}
	for key, node := range w.keys {
		var slot state.Slot
		if k, ok := state.ParseAppKey(key); ok && k.Kind == "hosts" && json.Unmarshal([]byte(node.Value), &slot) == nil {
			all[key] = slot
		}
	}
	return all
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

func observedOn(host string, o state.Observed) schedule.Observed {
	return schedule.Observed{Host: host, Observed: o}
}
