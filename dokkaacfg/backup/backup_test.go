package backup

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

func sample() Backup {
	return Backup{Cluster: "web", ID: "abc", Index: 90, Keys: []Key{
		{Key: "/apps/a/b/manifest", Value: `{"image": "x"}`, Created: 10, Modified: 40},
		{Key: "/apps/a/c/manifest", Value: `{"image": "y"}`, Created: 12, Modified: 12},
		{Key: "/apps/a/b/revisions/1", Value: `{"hash": "h1", "modified": 10, "new_field": [1]}`, Created: 11, Modified: 41},
		{Key: "/apps/a/b/revisions/2", Value: `{"hash": "h2", "modified": 40}`, Created: 42, Modified: 42},
		{Key: "/apps/a/b/scale", Value: `{"scale": 3, "modified": 40}`, Created: 50, Modified: 50},
		{Key: "/apps/a/d/scale", Value: `nonsense`, Created: 51, Modified: 51},
		{Key: "/hosts/10.0.0.1/lease", Value: `{}`, TTL: 8, Created: 60, Modified: 88},
		{Key: "/hosts/10.0.0.1/info", Value: `{}`, Created: 9, Modified: 9},
		{Key: "/dokkaa/cluster", Value: "abc", Created: 3, Modified: 3},
	}}
}

func TestReadsWhatWasWritten(t *testing.T) {
	var file strings.Builder
	if err := sample().Write(&file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(strings.NewReader(file.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Keys, sample().Keys) || got.ID != "abc" || got.Version != 1 {
		t.Errorf("%+v", got)
	}
	for name, change := range map[string]func(string) string{
		"another value": func(s string) string { return strings.Replace(s, "h2", "h3", 1) },
		"cut off":       func(s string) string { return s[:len(s)/2] },
		"with a tail":   func(s string) string { return s + s },
		"a later form":  func(s string) string { return strings.Replace(s, `"version": 1`, `"version": 2`, 1) },
		"empty":         func(string) string { return "" },
		"something":     func(string) string { return "{}" },
	} {
		if _, err := Read(strings.NewReader(change(file.String()))); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
}

// fakeEtcd numbers writes as etcd does.
type fakeEtcd struct {
	index uint64
	keys  map[string]Key
	log   []string
}

func (e *fakeEtcd) Create(key, value string) (uint64, error) {
	e.index++
	if _, found := e.keys[key]; found {
		return 0, fmt.Errorf("%s is there", key)
	}
	e.keys[key] = Key{Key: key, Value: value, Created: e.index, Modified: e.index}
	e.log = append(e.log, "create "+key)
	return e.index, nil
}

func (e *fakeEtcd) Update(key, value string, prev uint64) (uint64, error) {
	e.index++
	k := e.keys[key]
	if k.Modified != prev {
		return 0, fmt.Errorf("%s was changed: %d, not %d", key, k.Modified, prev)
	}
	k.Value, k.Modified = value, e.index
	e.keys[key] = k
	e.log = append(e.log, "update "+key)
	return e.index, nil
}

func TestReplay(t *testing.T) {
	etcd := &fakeEtcd{keys: map[string]Key{}}
	b := sample()
	if err := b.Replay(etcd, func(k Key) bool { return k.Key != state.ClusterKey }); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create /hosts/10.0.0.1/info", "create /apps/a/b/manifest", "create /apps/a/b/revisions/1", "create /apps/a/c/manifest",
		"update /apps/a/b/manifest", "update /apps/a/b/revisions/1", "create /apps/a/b/revisions/2", "create /apps/a/b/scale", "create /apps/a/d/scale",
	}
	if !slices.Equal(etcd.log, want) {
		t.Errorf("writes:\n%s\nwant:\n%s", strings.Join(etcd.log, "\n"), strings.Join(want, "\n"))
	}
	manifest := etcd.keys["/apps/a/b/manifest"].Modified
	var scale state.Scale
	var first, second state.Revision
	for key, value := range map[string]any{"/apps/a/b/scale": &scale, "/apps/a/b/revisions/1": &first, "/apps/a/b/revisions/2": &second} {
		if err := json.Unmarshal([]byte(etcd.keys[key].Value), value); err != nil {
			t.Fatal(err)
		}
	}
	if scale.Modified != manifest || second.Modified != manifest || first.Modified >= manifest || scale.Scale != 3 {
		t.Errorf("the manifest has index %d; scale %+v, revisions %+v and %+v", manifest, scale, first, second)
	}
	if got := etcd.keys["/apps/a/b/revisions/1"].Value; !strings.Contains(got, `"new_field":[1]`) {
		t.Errorf("a field is lost that this version does not know: %s", got)
	}
	if etcd.keys["/apps/a/b/manifest"].Created >= etcd.keys["/apps/a/c/manifest"].Created {
		t.Error("which manifest was first is lost")
	}
}
