package schedule_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
)

func TestDrainMovesStartFirst(t *testing.T) {
	w := newWorld(t, 3)
	w.put("x", "one", with("good", 1, ""))
	w.put("x", "two", with("good", 3, ""))
	w.settle()
	w.allow("10.0.0.1", state.Drained)
	for range 30 {
		w.schedule()
		if total(w.running("x", "one")) < 1 || total(w.running("x", "two")) < 3 {
			t.Fatal("something was stopped before its successor was healthy")
		}
		w.work()
	}
	for _, name := range []string{"one", "two"} {
		if n := w.running("x", name)["10.0.0.1"]; n != 0 {
			t.Errorf("%d of %s still run on the drained host", n, name)
		}
	}
	w.allow("10.0.0.1", "")
	w.settle()
	if n := w.running("x", "one")["10.0.0.1"] + w.running("x", "two")["10.0.0.1"]; n != 1 {
		t.Errorf("after the drain the host has %d of 4", n)
	}
}

func TestCordonKeepsWhatRuns(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "a", with("good", 2, ""))
	w.settle()
	before := ids(w.seen)
	w.allow("10.0.0.1", state.Cordoned)
	w.put("x", "b", with("good", 2, ""))
	w.settle()
	if got := w.running("x", "b"); !maps.Equal(got, map[string]int{"10.0.0.2": 2}) {
		t.Errorf("b runs on %v", got)
	}
	for id := range before {
		if _, still := w.seen[id]; !still {
			t.Errorf("%s was moved", id)
		}
	}
}

func TestHostThatJoinsGetsItsShare(t *testing.T) {
	w := newWorld(t, 2)
	for i := range 6 {
		w.put("x", fmt.Sprintf("c%d", i), with("good", 1, ""))
	}
	w.settle()
	before := ids(w.seen)
	w.join("10.0.0.3")
	moving := 0
	for range 40 {
		w.schedule()
		moving = 0
		for _, slot := range w.slots() {
			if slot.Next != nil {
				moving++
			}
		}
		if moving > 1 {
			t.Fatalf("%d move at a time", moving)
		}
		w.work()
	}
	w.settle()
	counts, moved := map[string]int{}, 0
	for id, o := range w.seen {
		counts[o.Host]++
		if !before[id] {
			moved++
		}
	}
	if !maps.Equal(counts, map[string]int{"10.0.0.1": 2, "10.0.0.2": 2, "10.0.0.3": 2}) || moved != 2 {
		t.Errorf("%v after %d moves", counts, moved)
	}
}

// What is about to end is no reason to move anything: without it, the hosts are even.
func TestNothingMovesForWhatEnds(t *testing.T) {
	w := newWorld(t, 3)
	for i := range 6 {
		w.put("x", fmt.Sprintf("c%d", i), with("good", 1, ""))
	}
	w.settle()
	before := ids(w.seen)
	w.allow("10.0.0.3", state.Cordoned)
	w.put("x", "late", with("good", 4, ""))
	w.settle()
	w.allow("10.0.0.3", "")
	delete(w.keys, state.Ref{App: "x", Name: "late"}.ManifestKey())
	w.schedule()
	w.settle()
	if after := ids(w.seen); !maps.Equal(before, after) {
		t.Errorf("%v ran before, %v after", before, after)
	}
}

func TestConstraintThatIsNotMetAnyMore(t *testing.T) {
	w := newWorld(t, 2)
	label := func(ip, zone string) {
		h := w.hosts[ip]
		h.Labels = map[string]string{"zone": zone}
		w.hosts[ip] = h
	}
	label("10.0.0.1", "a")
	w.put("x", "web", with("good", 1, `"constraints": ["host.labels.zone == a"]`))
	w.settle()
	if got := w.running("x", "web"); got["10.0.0.1"] != 1 {
		t.Fatalf("runs on %v", got)
	}
	label("10.0.0.1", "b")
	w.settle()
	if s := w.status("x", "web"); s.Healthy != 1 || !strings.Contains(s.Slots[0].Reason+strings.Join(s.Waiting, ""), "constraint") {
		t.Errorf("with no suitable host: %+v", s)
	}
	label("10.0.0.2", "a")
	w.settle()
	if got := w.running("x", "web"); !maps.Equal(got, map[string]int{"10.0.0.2": 1}) {
		t.Errorf("runs on %v", got)
	}
}

func TestVolumeWaitsForItsHost(t *testing.T) {
	for policy, moves := range map[string]bool{"wait": false, "move_empty": true} {
		t.Run(policy, func(t *testing.T) {
			w := newWorld(t, 3)
			w.put("x", "db", with("good", 1, `"volumes": [{"name": "data", "path": "/data", "on_host_loss": "`+policy+`"}]`))
			w.settle()
			w.write(state.VolumeKey("10.0.0.1", "x---db---data"), `{"app": "x", "name": "db", "slot": 1, "volume": "data", "driver": "local"}`)
			w.set("10.0.0.1", schedule.Lost)
			w.settle()
			s := w.status("x", "db")
			if moved := s.Healthy == 1; moved != moves {
				t.Fatalf("status: %+v", s)
			}
			if !moves && s.Slots[0].Reason != "waits for host 10.0.0.1, which has volume data" {
				t.Errorf("reason: %q", s.Slots[0].Reason)
			}
		})
	}
}

func TestVolumeKeepsItsSlotThroughRemoval(t *testing.T) {
	w := newWorld(t, 3)
	manifest := with("good", 1, `"volumes": [{"name": "data", "path": "/data"}]`)
	w.write(state.VolumeKey("10.0.0.3", "x---db---data"), `{"app": "x", "name": "db", "slot": 1, "volume": "data", "driver": "local"}`)
	for range 2 {
		w.put("x", "db", manifest)
		w.settle()
		if got := w.running("x", "db"); got["10.0.0.3"] != 1 {
			t.Fatalf("runs on %v, where the data is on 10.0.0.3", got)
		}
		w.allow("10.0.0.3", state.Drained)
		w.settle()
		if s := w.status("x", "db"); s.Healthy != 1 || s.Slots[0].Reason != "" && !strings.Contains(s.Slots[0].Reason, "stays on host 10.0.0.3") {
			t.Errorf("drained: %+v", s)
		}
		w.allow("10.0.0.3", "")
		delete(w.keys, state.Ref{App: "x", Name: "db"}.ManifestKey())
		w.settle()
	}
}

// TestFencedVolume: nobody else writes before the lost host has surely stopped.
func TestFencedVolume(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "db", with("good", 1, `"volumes": [{"name": "data", "path": "/data", "driver": "rexray"}]`))
	w.settle()
	w.set("10.0.0.1", schedule.Lost)
	w.settle()
	if slot := w.slots()["/apps/x/db/hosts/1"]; slot.Current != nil || slot.Next != nil {
		t.Fatalf("slot: %+v", slot)
	}
	w.now = w.now.Add(5 * time.Second)
	w.settle()
	if got := w.running("x", "db"); got["10.0.0.2"] != 1 {
		t.Errorf("runs on %v", got)
	}
}

func TestGlobal(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "log", `{"image": "good", "mode": "global"}`)
	w.settle()
	w.join("10.0.0.3")
	w.settle()
	if got := w.running("x", "log"); !maps.Equal(got, map[string]int{"10.0.0.1": 1, "10.0.0.2": 1, "10.0.0.3": 1}) {
		t.Fatalf("runs on %v", got)
	}
	before := ids(w.seen)
	w.set("10.0.0.2", schedule.Lost)
	w.settle()
	w.set("10.0.0.2", schedule.Alive)
	w.settle()
	if got := ids(w.seen); !maps.Equal(got, before) {
		t.Errorf("a host that came back was restarted: %v, before %v", got, before)
	}
	w.allow("10.0.0.1", state.Drained)
	w.settle()
	if got := w.running("x", "log"); !maps.Equal(got, map[string]int{"10.0.0.2": 1, "10.0.0.3": 1}) {
		t.Errorf("drained: runs on %v", got)
	}
}

func TestDependsOn(t *testing.T) {
	w := newWorld(t, 1)
	w.put("x", "web", with("good", 1, `"depends_on": ["db"]`))
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StatePending || s.Slots[0].Reason != "waits until x/db is healthy: there is no such container" {
		t.Errorf("status: %+v", s)
	}
	w.put("x", "db", with("good", 1, ""))
	w.settle()
	if s := w.status("x", "web"); s.State != schedule.StateRunning {
		t.Errorf("status: %+v", s)
	}
	w.put("x", "db", with("good", 1, `"depends_on": ["web"]`))
	w.settle()
	if s := w.status("x", "db"); len(s.Errors) != 1 || !strings.Contains(s.Errors[0], "goes round in a circle: x/db -> x/web -> x/db") {
		t.Errorf("errors: %q", s.Errors)
	}
}

func TestSecretsAreVersioned(t *testing.T) {
	w := newWorld(t, 1)
	w.put("x", "db", with("good", 1, `"secrets": ["password"]`))
	w.settle()
	if s := w.status("x", "db"); s.State != schedule.StateRefused || s.Errors[0] != "secrets[0]: password is not set in app x" {
		t.Errorf("status: %+v", s)
	}
	w.write(state.SecretKey("x", "password", 1), "sealed")
	w.settle()
	if s := w.status("x", "db"); s.State != schedule.StateRunning || s.Revision != 1 {
		t.Errorf("status: %+v", s)
	}
	w.write(state.SecretKey("x", "password", 2), "sealed")
	w.settle()
	if s := w.status("x", "db"); s.State != schedule.StateRunning || s.Revision != 2 || w.revision("x", "db", 2).Versions.Secrets["password"] != 2 {
		t.Errorf("a new version is no update: %+v", s)
	}
}

func TestScaleOverride(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "web", with("good", 2, ""))
	w.settle()
	ref := state.Ref{App: "x", Name: "web"}
	w.write(ref.ScaleKey(), fmt.Sprintf(`{"scale": 5, "modified": %d}`, w.keys[ref.ManifestKey()].Modified))
	w.settle()
	if s := w.status("x", "web"); s.Healthy != 5 {
		t.Errorf("overridden: %+v", s)
	}
	w.put("x", "web", with("better", 2, ""))
	w.settle()
	if s := w.status("x", "web"); s.Healthy != 5 || s.Revision != 2 {
		t.Errorf("a manifest with the same scale: %+v", s)
	}
	w.put("x", "web", with("better", 3, ""))
	w.settle()
	if s := w.status("x", "web"); s.Healthy != 3 {
		t.Errorf("a manifest with another scale: %+v", s)
	}
	if _, left := w.keys[ref.ScaleKey()]; left {
		t.Error("the override stays")
	}
}

func TestDisconnect(t *testing.T) {
	w := newWorld(t, 2)
	w.put("x", "patient", with("good", 1, `"disconnect": {"lost_after": "1m"}`))
	w.settle()
	w.put("x", "stays", with("good", 1, `"disconnect": {"replace": false}`))
	w.settle()
	w.set("10.0.0.1", schedule.Lost)
	w.set("10.0.0.2", schedule.Alive)
	w.join("10.0.0.3") // so that the brake does not hold
	w.settle()
	if s := w.status("x", "patient"); s.Healthy != 0 || !strings.Contains(s.Slots[0].Reason, "given up 1m0s after") {
		t.Errorf("at once: %+v", s)
	}
	w.now = w.now.Add(time.Minute)
	w.settle()
	if s := w.status("x", "patient"); s.Healthy != 1 {
		t.Errorf("a minute later: %+v", s)
	}
	w.set("10.0.0.2", schedule.Lost)
	w.join("10.0.0.4")
	w.join("10.0.0.5")
	w.settle()
	if s := w.status("x", "stays"); s.Healthy != 0 || !strings.Contains(s.Slots[0].Reason, "disconnect.replace is false") {
		t.Errorf("not to be replaced: %+v", s)
	}
}
