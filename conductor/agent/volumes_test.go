package agent

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	withVolume = `{"manifest": {"image": "nginx", "services": {"nginx": 80}, "volumes": [{"name": "data", "path": "/data"}]}, "hash": "x"}`
	dataVolume = "dummy---nginx---data" // of slot 1
)

var dataKey = state.VolumeKey("10.0.0.1", dataVolume)

// volumeKeys are the volumes that the store has of the host.
func (b *bench) volumeKeys() (names []string) {
	b.store.set(func() {
		for key := range b.store.keys {
			if k, ok := state.ParseHostKey(key); ok && k.Kind == "volumes" {
				names = append(names, k.Item)
			}
		}
	})
	slices.Sort(names)
	return names
}

// ask asks for the removal of volumes, and for that of no others.
func (b *bench) ask(volumes ...string) {
	var nodes []store.Node
	for _, name := range volumes {
		key := state.RemovalKey("10.0.0.1", name)
		b.store.set(func() { b.store.keys[key] = "" })
		nodes = append(nodes, store.Node{Key: key, Modified: 1})
	}
	b.removals.set(store.NewSnapshot(3, nodes...))
	b.agent.VolumesHint()
	b.pass(time.Second)
}

func TestVolumeIsRecordedBeforeItsInstanceIsToldToRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.put(b.slots(withVolume, idA)...)
		b.pass(time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy {
			t.Errorf("observed: %+v", o)
		}
		if got := b.store.keys[dataKey]; got != `{"app":"dummy","name":"nginx","slot":1,"volume":"data","driver":"local"}` {
			t.Errorf("recorded %s", got)
		}
		recorded := slices.Index(b.store.log, "set "+dataKey)
		for i, value := range b.store.values {
			if (strings.Contains(value, "running") || strings.Contains(value, "healthy")) && i < recorded {
				t.Errorf("told to run before its volume was recorded: %q", b.store.log)
			}
		}
		b.put() // the manifest is gone
		b.pass(time.Minute)
		if n, _, _ := b.engine.count(); n > 0 || !slices.Equal(b.volumeKeys(), []string{dataVolume}) {
			t.Errorf("%d containers run, the store has volumes %q", n, b.volumeKeys())
		}
	})
}

func TestInstanceWithoutARecordedVolumeOnlyStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.store.file = state.HostDir("10.0.0.1") + "/volumes"
		b.start()
		defer func() { b.stop() }()
		b.put(b.slots(withVolume, idA)...)
		b.pass(30 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseStarting {
			t.Errorf("observed: %+v", o)
		}
		b.store.set(func() { b.store.file = "" })
		b.pass(2 * time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy {
			t.Errorf("observed, once it could be recorded: %+v", o)
		}
	})
}

func TestVolumesAreWhatDockerHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		gone := state.VolumeKey("10.0.0.1", "dummy---nginx---gone")
		b.store.keys[gone] = "{}" // from before
		b.engine.volumesErr = errors.New("a driver does not answer")
		b.engine.fakeStorage.volumes = map[string]state.Volume{dataVolume: {Ref: refN, Slot: 1, Volume: "data", Driver: "local"}}
		b.start()
		defer func() { b.stop() }()
		b.pass(time.Minute)
		if got := b.volumeKeys(); !slices.Equal(got, []string{"dummy---nginx---gone"}) {
			t.Errorf("while Docker does not say: %q", got)
		}
		b.engine.set(func() { b.engine.volumesErr = nil })
		b.pass(volumesResync + time.Second)
		if got := b.volumeKeys(); !slices.Equal(got, []string{dataVolume}) {
			t.Errorf("when it does: %q", got)
		}
		b.engine.set(func() { b.engine.volumesErr = errors.New("a driver does not answer") })
		b.store.set(func() { delete(b.store.keys, dataKey) })
		b.pass(time.Minute)
		if got := b.volumeKeys(); !slices.Equal(got, []string{dataVolume}) {
			t.Errorf("when it does not again, and somebody deleted the key: %q", got)
		}
		b.engine.set(func() { b.engine.volumesErr, b.engine.fakeStorage.volumes = nil, nil })
		b.pass(time.Minute)
		if got := b.volumeKeys(); len(got) > 0 {
			t.Errorf("when there are none: %q", got)
		}
	})
}

func TestVolumeIsRemovedWhenNothingNeedsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.put(b.slots(withVolume, idA)...)
		b.pass(time.Second)
		request := state.RemovalKey("10.0.0.1", dataVolume)
		b.ask(dataVolume)
		if got, _ := b.store.get(request); got != `{"reason":"slot 1 of dummy/nginx is assigned to this host and needs it"}` {
			t.Errorf("while it is needed: %s", got)
		}
		nodes := b.slots(withVolume)
		b.put(append(nodes, store.Node{Key: refN.SlotKey(2), Value: "{"})...)
		b.pass(30 * time.Second)
		b.ask(dataVolume)
		if got, _ := b.store.get(request); !strings.Contains(got, "slot 2 of dummy/nginx, which may need it, cannot be read") {
			t.Errorf("while it may be needed: %s", got)
		}
		b.put(nodes...)
		b.apps.unknow()
		b.ask(dataVolume)
		if got, _ := b.store.get(request); got != "" || !slices.Equal(b.volumeKeys(), []string{dataVolume}) {
			t.Errorf("while it is not known: %q, volumes %q", got, b.volumeKeys())
		}
		b.put(nodes...)
		b.engine.set(func() { b.engine.foreign = []engine.Container{{Volumes: []string{dataVolume}}} })
		b.ask(dataVolume)
		if got, _ := b.store.get(request); got != `{"reason":"volume in use and cannot be removed"}` {
			t.Errorf("while it is in use: %s", got)
		}
		b.engine.set(func() { b.engine.foreign = nil })
		b.ask(dataVolume, "never-heard-of")
		b.store.set(func() {
			if keys := slices.Collect(maps.Keys(b.store.keys)); len(keys) > 0 {
				t.Errorf("left are %q", keys)
			}
			if first, second := slices.Index(b.store.log, "delete "+dataKey), slices.Index(b.store.log, "delete "+request); first > second {
				t.Errorf("the request went before the volume: %q", b.store.log)
			}
		})
		if !slices.Contains(b.engine.log, "remove volume "+dataVolume) {
			t.Errorf("done: %q", b.engine.log)
		}
	})
}

// TestOnlyOneRunsWithAVolume moves a slot from one instance to the next on the same host.
func TestOnlyOneRunsWithAVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.put(b.slots(withVolume, idA)...)
		b.pass(time.Second)
		here := func(id string) *state.Assignment {
			return &state.Assignment{Host: "10.0.0.1", Revision: 1, Instance: id}
		}
		b.put(store.Node{Key: refN.RevisionKey(1), Value: withVolume},
			store.Node{Key: refN.SlotKey(1), Value: text(t, state.Slot{Current: here(idA), Next: here(idB)})})
		b.pass(time.Minute)
		if o := b.observed(idB); o.Phase != state.PhaseStarting || o.Reason != "waits for volume "+dataVolume+", which instance "+idA+" still has" {
			t.Errorf("observed: %+v", o)
		}
		if o := b.observed(idA); o.Phase != state.PhaseHealthy {
			t.Errorf("observed of the other: %+v", o)
		}
		b.engine.kill("c-" + idA) // which is started again at once, and the other still waits
		b.pass(time.Second)
		b.put(b.slots(withVolume, idB)...)
		b.pass(20 * time.Second)
		if o := b.observed(idB); o.Phase != state.PhaseHealthy {
			t.Errorf("observed, once it has the volume: %+v", o)
		}
		if b.engine.two != "" {
			t.Errorf("ran at the same time: %s", b.engine.two)
		}
	})
}

// TestOnlyOneStartsWithAVolume has two instances whose containers are both there start at once.
func TestOnlyOneStartsWithAVolume(t *testing.T) {
	for _, invalid := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.start()
			defer func() { b.stop() }()
			here := func(id string) *state.Assignment {
				return &state.Assignment{Host: "10.0.0.1", Revision: 1, Instance: id}
			}
			both := store.Node{Key: refN.SlotKey(1), Value: text(t, state.Slot{Current: here(idA), Next: here(idB)})}
			b.engine.set(func() { b.engine.takes = 100 * time.Millisecond })
			b.put(store.Node{Key: refN.RevisionKey(1), Value: withVolume}, both)
			b.pass(10 * time.Minute)
			if invalid {
				b.put(store.Node{Key: refN.RevisionKey(1), Value: `{"manifest": {"new": 1}}`}, both)
			}
			for range 20 {
				b.engine.set(func() {
					for _, c := range b.engine.containers {
						c.Status, c.Detail = "exited", "Exited (1) 1 second ago"
					}
				})
				b.agent.EngineHint()
				b.pass(2 * time.Minute)
			}
			running := 0
			for _, c := range b.engine.containers {
				if c.Status == "running" {
					running++
				}
			}
			if b.engine.two != "" || running != 1 {
				t.Errorf("%d run, at the same time ran %q", running, b.engine.two)
			}
		})
	}
}

// TestLaunchAsksDocker is about what the plan was made from: it may be old by the time of the start.
func TestLaunchAsksDocker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		b.stop()
		b.engine.containers["other"] = &engine.Container{ID: "other", Ref: refN, Slot: 1, Instance: idA, Status: engine.StatusPaused, Volumes: []string{dataVolume}}
		b.engine.containers["c-"+idB] = &engine.Container{ID: "c-" + idB, Ref: refN, Slot: 1, Instance: idB, Status: engine.StatusExited, Volumes: []string{dataVolume}}
		all, _ := newAssignments("10.0.0.1", b.apps).look(store.NewSnapshot(1, b.slots(withVolume, idB)...))
		err := b.agent.launch(t.Context(), all[idB], *b.engine.containers["c-"+idB])
		if !errors.Is(err, errUnclaimed) || !strings.Contains(err.Error(), "which instance "+idA+" still has") {
			t.Errorf("launched beside another: %v", err)
		}
		b.engine.containers["other"].Status = engine.StatusExited
		if err := b.agent.launch(t.Context(), all[idB], *b.engine.containers["c-"+idB]); err != nil {
			t.Errorf("launched alone: %v", err)
		}
	})
}
