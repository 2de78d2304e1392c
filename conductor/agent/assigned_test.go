package agent

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

// text is v as JSON.
func text(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func slotOn(t testing.TB, host string, revision int, instance string) string {
	t.Helper()
	return text(t, state.Slot{Current: &state.Assignment{Host: host, Revision: revision, Instance: instance}})
}

// TestAssignedIsWhatAFullReadFinds takes in random changes one by one, and compares with who reads
// everything at once.
func TestAssignedIsWhatAFullReadFinds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		keys := map[string]string{}
		mirror := &fakeMirror{}
		kept := newAssignments("10.0.0.1", mirror)
		for range rapid.IntRange(1, 12).Draw(rt, "looks") {
			for range rapid.IntRange(0, 4).Draw(rt, "changes") {
				ref := state.Ref{App: "dummy", Name: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "name")}
				n := rapid.IntRange(1, 3).Draw(rt, "n")
				key, value := ref.SlotKey(n), ""
				switch rapid.SampledFrom([]string{"here", "here", "elsewhere", "both", "broken", "gone", "revision", "revision", "status"}).Draw(rt, "change") {
				case "here":
					value = slotOn(t, "10.0.0.1", n, fmt.Sprint("i", ref.Name, n))
				case "elsewhere":
					value = slotOn(t, "10.0.0.2", n, fmt.Sprint("i", ref.Name, n))
				case "both":
					value = text(t, state.Slot{Current: &state.Assignment{Host: "10.0.0.1", Revision: 1, Instance: fmt.Sprint("i", ref.Name, n)},
						Next: &state.Assignment{Host: "10.0.0.1", Revision: 2, Instance: fmt.Sprint("n", ref.Name, n)}})
				case "broken":
					value = rapid.SampledFrom([]string{"null", "{", "[]", `{"current": {}}`}).Draw(rt, "value")
				case "revision":
					key = ref.RevisionKey(n)
					value = rapid.SampledFrom([]string{"", "{", `{"manifest": {"image": "x"}, "hash": "1"}`,
						`{"manifest": {"image": "x", "scale": 2}, "hash": "1"}`, `{"manifest": {"image": "y"}, "hash": "2"}`}).Draw(rt, "value")
				case "status":
					key, value = ref.StatusKey(), "{}"
				}
				keys[key] = value
				if value == "" {
					delete(keys, key)
				}
			}
			var nodes []store.Node
			for key, value := range keys {
				nodes = append(nodes, store.Node{Key: key, Value: value})
			}
			snapshot := store.NewSnapshot(1, nodes...)
			got, gotUnreadable := kept.look(snapshot)
			want, wantUnreadable := newAssignments("10.0.0.1", mirror).look(snapshot)
			if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotUnreadable, wantUnreadable) {
				rt.Fatalf("has %+v, unreadable %v\nof %v\nwant %+v, unreadable %v", got, gotUnreadable, keys, want, wantUnreadable)
			}
			if again, _ := kept.look(snapshot); !reflect.DeepEqual(again, want) {
				rt.Fatal("looking again finds something else")
			}
		}
	})
}

func TestNewestManifestOfTheSameContainers(t *testing.T) {
	t.Parallel()
	of := func(scale int) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"image": "nginx", "scale": %d}`, scale))
	}
	for name, test := range map[string]struct {
		revisions []state.Revision
		scale     int // of the manifest in force for the first
		image     string
		invalid   string
	}{
		"alone":                {revisions: []state.Revision{{Manifest: of(1), Hash: "x"}}, scale: 1, image: "nginx"},
		"newer of the same":    {revisions: []state.Revision{{Manifest: of(1), Hash: "x"}, {Manifest: of(2), Hash: "x"}, {Manifest: of(3), Hash: "x"}}, scale: 3, image: "nginx"},
		"newer of others":      {revisions: []state.Revision{{Manifest: of(1), Hash: "x"}, {Manifest: of(2), Hash: "y"}}, scale: 1, image: "nginx"},
		"without a hash":       {revisions: []state.Revision{{Manifest: of(1)}, {Manifest: of(2)}}, scale: 1, image: "nginx"},
		"newer not understood": {revisions: []state.Revision{{Manifest: of(1), Hash: "x"}, {Manifest: json.RawMessage(`{"new": 1}`), Hash: "x"}}, scale: 1, image: "nginx"},
		"resolved":             {revisions: []state.Revision{{Manifest: of(1), Hash: "x", Image: "nginx@sha256:1"}, {Manifest: of(2), Hash: "x"}}, scale: 2, image: "nginx@sha256:1"},
		"not understood":       {revisions: []state.Revision{{Manifest: json.RawMessage(`{"new": 1}`), Hash: "x"}, {Manifest: of(2), Hash: "x"}}, invalid: "does not understand revision 1"},
		"not there":            {invalid: "revision 1 is not there"},
	} {
		nodes := []store.Node{{Key: refN.SlotKey(1), Value: slotOn(t, "10.0.0.1", 1, idA)}}
		for i, r := range test.revisions {
			nodes = append(nodes, store.Node{Key: refN.RevisionKey(i + 1), Value: text(t, r)})
		}
		all, _ := newAssignments("10.0.0.1", &fakeMirror{}).look(store.NewSnapshot(1, nodes...))
		d := all[idA]
		switch {
		case test.invalid != "" && !strings.Contains(d.Invalid, test.invalid):
			t.Errorf("%s: invalid %q, want %q", name, d.Invalid, test.invalid)
		case test.invalid == "" && (d.Invalid != "" || d.Manifest.Scale != test.scale || d.Image != test.image || d.Resolved != (test.image != "nginx")):
			t.Errorf("%s: %+v of %+v", name, d, d.Manifest)
		}
	}
}

// TestDesiredHasEverything checks that nothing of a manifest that Docker is told is left out.
func TestDesiredHasEverything(t *testing.T) {
	t.Parallel()
	const m = `{"image": "nginx", "entrypoint": ["/e"], "command": ["c"], "env": {"A": "b"}, "user": "1:2", "working_dir": "/w",
		"labels": {"team": "shop"}, "hostname": "web", "services": {"web": {"port": 80, "host_port": 8080}, "admin": 81}, "links": ["redis", {"to": "db", "sticky": true}],
		"disconnect": {"stop_on_client_after": "1m"},
		"resources": {"cpus": 0.5, "memory": "64m"}, "volumes": [{"name": "data", "path": "/data"},
		{"name": "all", "path": "/all", "access_mode": "single-host", "read_only": true, "driver_opts": {"type": "tmpfs", "device": "tmpfs"}}]}`
	nodes := []store.Node{{Key: refN.SlotKey(2), Value: slotOn(t, "10.0.0.1", 1, idA)},
		{Key: refN.RevisionKey(1), Value: text(t, state.Revision{Manifest: json.RawMessage(m), Versions: manifest.Versions{Secrets: map[string]int{"s": 1}}})}}
	all, _ := newAssignments("10.0.0.1", &fakeMirror{}).look(store.NewSnapshot(1, nodes...))
	d := all[idA]
	if d.Invalid != "" {
		t.Fatal(d.Invalid)
	}
	spec := reflect.ValueOf(d.Spec)
	for i := range spec.NumField() {
		if name := spec.Type().Field(i).Name; spec.Field(i).IsZero() && name != "Generation" {
			t.Errorf("nothing in %s", name)
		}
	}
	if d.HostPorts[engine.TCP(80)] != 8080 || d.HostPorts[engine.TCP(81)] != 0 || d.Memory != 64<<20 || d.Versions.Secrets["s"] != 1 ||
		len(d.Links) != 1 || !d.Links["10002"].Sticky {
		t.Errorf("described as %+v", d)
	}
	if len(d.Mounts) != 2 || d.Mounts[0].Name != "dummy---nginx---2---data" || d.Mounts[0].Slot != 2 || d.Mounts[1].Name != "dummy---nginx---all" || d.Mounts[1].Slot != 0 {
		t.Errorf("mounts %+v", d.Mounts)
	}
}

// bigCluster has so many slots, a thousandth of them here, ten to a container.
func bigCluster(t testing.TB, slots int) []store.Node {
	t.Helper()
	var nodes []store.Node
	for i := range slots {
		ref := state.Ref{App: "app", Name: fmt.Sprint("c", i/10)}
		if i%10 == 0 {
			nodes = append(nodes, store.Node{Key: ref.RevisionKey(1), Value: nginxRevision})
		}
		nodes = append(nodes, store.Node{Key: ref.SlotKey(i%10 + 1), Value: slotOn(t, fmt.Sprint("10.0.0.", i%1000), 1, fmt.Sprint("i", i))})
	}
	return nodes
}

// changing is a mirror of which one key changes at a time.
type changing struct {
	fakeMirror
	keys []string
}

func (m *changing) Changed(since, _ store.Snapshot) ([]string, bool) { return m.keys, !since.Listed }

func BenchmarkLookAfterOneChange(b *testing.B) {
	nodes := bigCluster(b, 50_000)
	mirror := &changing{}
	a := newAssignments("10.0.0.1", mirror)
	if all, _ := a.look(store.NewSnapshot(1, nodes...)); len(all) != 50 {
		b.Fatalf("%d instances", len(all))
	}
	ref := state.Ref{App: "app", Name: "c0"}
	var snapshots []store.Snapshot
	for i := range 2 {
		snapshots = append(snapshots, store.NewSnapshot(1, append(nodes, store.Node{Key: ref.SlotKey(11), Value: slotOn(b, "10.0.0.1", 1, fmt.Sprint("new", i))})...))
	}
	mirror.keys = []string{ref.SlotKey(11)}
	for i := 0; b.Loop(); i++ {
		a.look(snapshots[i%2])
	}
}

func BenchmarkLookAtEverything(b *testing.B) {
	snapshot := store.NewSnapshot(1, bigCluster(b, 50_000)...)
	for b.Loop() {
		newAssignments("10.0.0.1", &changing{}).look(snapshot)
	}
}
