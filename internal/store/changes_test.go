package store

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-etcd/etcd"
	"pgregory.net/rapid"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// scripted is a mirror that is given its lists and events by hand.
type scripted struct {
	*Mirror
	index uint64
}

func newScripted(t testing.TB, dir string) *scripted {
	t.Helper()
	return &scripted{Mirror: openFake(t, nil, "h:1").NewMirror(dir), index: 1}
}

func (m *scripted) event(t testing.TB, action, key, value string, dir bool) {
	t.Helper()
	m.index++
	err := m.apply(answer{action: action, node: &etcd.Node{Key: key, Value: value, Dir: dir, ModifiedIndex: m.index, CreatedIndex: m.index}})
	if err != nil {
		t.Fatal(err)
	}
}

// relist has the mirror list what it holds, but for the keys that are to be changed, 0 to delete them.
func (m *scripted) relist(to map[string]uint64) {
	m.index++
	nodes := map[string]Node{}
	for n := range m.Snapshot().All("") {
		n.TTL = time.Duration(m.index) * time.Second // passes meanwhile
		nodes[n.Key] = n
	}
	for key, modified := range to {
		nodes[key] = Node{Key: key, Value: "listed", Created: modified, Modified: modified}
		if modified == 0 {
			delete(nodes, key)
		}
	}
	sorted := slices.SortedFunc(maps.Values(nodes), func(a, b Node) int { return strings.Compare(a.Key, b.Key) })
	m.load(list{Listing: Listing{Nodes: sorted, Index: m.index}})
}

func (m *scripted) wantChanged(t testing.TB, since Snapshot, want ...string) {
	t.Helper()
	got, all := m.Changed(since, m.Snapshot())
	if all || !slices.Equal(got, want) {
		t.Errorf("changed: %q, all %v; want %q", got, all, want)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	m := newScripted(t, "/m/n")
	if _, all := m.Changed(Snapshot{}, m.Snapshot()); !all {
		t.Error("since no snapshot at all: not all")
	}
	empty := m.Snapshot()
	m.relist(map[string]uint64{"/m/n/a": 1, "/m/n/b": 1, "/m/n/d/1": 1, "/m/n/d/2": 1})
	listed := m.Snapshot()
	if _, all := m.Changed(empty, listed); !all {
		t.Error("since before the first list: not all")
	}
	m.wantChanged(t, listed)

	m.event(t, "set", "/m/n/b", "2", false)
	m.event(t, "set", "/m/n/b", "3", false)
	m.event(t, "create", "/m/n/a/c", "1", false)
	m.wantChanged(t, listed, "/m/n/a/c", "/m/n/b")
	before := m.Snapshot()
	m.wantChanged(t, before)
	m.event(t, "delete", "/m/n/d", "", true)
	m.wantChanged(t, before, "/m/n/d/1", "/m/n/d/2")
	before = m.Snapshot()
	m.event(t, "expire", "/m/n/d", "", true)
	m.event(t, "set", "/m/n/e", "", true)
	m.wantChanged(t, before)
	m.event(t, "set", "/m/n/b", "", true) // a directory in the leaf's place
	m.wantChanged(t, before, "/m/n/b")

	before = m.Snapshot()
	m.lose(t.Context(), ErrUnavailable)
	m.wantChanged(t, before)
	m.relist(nil)
	m.wantChanged(t, before)
	if n, _ := m.Snapshot().Get("/m/n/a"); n.TTL == 0 {
		t.Error("a new list left the old time to live")
	}
	m.relist(map[string]uint64{"/m/n/a": 0, "/m/n/a/c": m.index, "/m/n/z": m.index})
	m.wantChanged(t, before, "/m/n/a", "/m/n/a/c", "/m/n/z")
	before = m.Snapshot()
	m.event(t, "delete", "/m", "", true)
	m.wantChanged(t, before, "/m/n/a/c", "/m/n/z")
	if n := m.Snapshot().Len(); n != 0 {
		t.Errorf("%d keys are left of a directory that was deleted from above", n)
	}

	if _, all := m.Changed(m.Snapshot(), before); !all {
		t.Error("backwards: not all")
	}
	other := newScripted(t, "/m/n")
	other.relist(nil)
	if _, all := m.Changed(other.Snapshot(), m.Snapshot()); !all {
		t.Error("since a snapshot of another mirror: not all")
	}
}

func TestChangedForgets(t *testing.T) {
	t.Parallel()
	m := newScripted(t, "/m")
	m.relist(nil)
	oldest := m.Snapshot()
	m.event(t, "set", "/m/0", "", false)
	second := m.Snapshot()
	for i := range changesKept {
		m.event(t, "set", "/m/"+strconv.Itoa(i+1), "", false)
	}
	if _, all := m.Changed(oldest, m.Snapshot()); !all {
		t.Error("since before all that is remembered: not all")
	}
	if keys, all := m.Changed(second, m.Snapshot()); all || len(keys) != changesKept {
		t.Errorf("as far back as is remembered: %d keys, all %v", len(keys), all)
	}
	m.wantChanged(t, m.Snapshot())
}

// TestChangedCoversEveryDifference compares what the mirror says with both snapshots as a whole.
func TestChangedCoversEveryDifference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := newScripted(t, "/m")
		m.relist(nil)
		history := []Snapshot{m.Snapshot()}
		touched := []map[string]bool{{}}
		// A key, or a directory of some; one that is at the same time both does no harm here.
		key := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "bb"}), 1, 3),
			func(parts []string) string { return "/m/" + strings.Join(parts, "/") })
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			before, now := m.Snapshot(), map[string]bool{}
			key := key.Draw(rt, "key")
			switch rapid.SampledFrom([]string{"set", "set", "set", "delete", "list"}).Draw(rt, "step") {
			case "set":
				m.event(t, "set", key, "", false)
				now[key] = true
			case "delete":
				m.event(t, "delete", key, "", true)
				for n := range before.All(key) {
					now[n.Key] = true
				}
			case "list":
				to := uint64(rapid.IntRange(0, 1).Draw(rt, "set")) * (m.index + 1)
				m.relist(map[string]uint64{key: to})
				now[key] = true
			}
			history, touched = append(history, m.Snapshot()), append(touched, now)
		}
		from := rapid.IntRange(0, len(history)-1).Draw(rt, "from")
		to := rapid.IntRange(from, len(history)-1).Draw(rt, "to")
		changed, all := m.Changed(history[from], history[to])
		if all {
			rt.Fatal("all may have changed")
		}
		for _, key := range differences(history[from], history[to]) {
			if !slices.Contains(changed, key) {
				rt.Fatalf("%s differs, and only %q have changed", key, changed)
			}
		}
		for _, key := range changed {
			if !slices.ContainsFunc(touched[from+1:to+1], func(keys map[string]bool) bool { return keys[key] }) {
				rt.Fatalf("%s has changed, which nobody touched", key)
			}
		}
	})
}

func differences(a, b Snapshot) (keys []string) {
	for n := range a.All("") {
		if now, found := b.Get(n.Key); !found || now.Modified != n.Modified {
			keys = append(keys, n.Key)
		}
	}
	for n := range b.All("") {
		if _, found := a.Get(n.Key); !found {
			keys = append(keys, n.Key)
		}
	}
	return keys
}

func TestChangedOfEtcd(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	mustSet(t, s, "/m/a", "1")
	m := startMirror(t, s, "/m")
	before := m.Snapshot()
	mustSet(t, s, "/m/d/b", "1")
	mustSet(t, s, "/m/d/c", "1")
	if err := s.DeleteDir(t.Context(), "/m/d"); err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, "/m/a", "2")
	waitContent(t, m, 5*time.Second, "/m/a=2")
	want := []string{"/m/a", "/m/d/b", "/m/d/c"}
	if got, all := m.Changed(before, m.Snapshot()); all || !slices.Equal(got, want) {
		t.Errorf("changed: %q, all %v; want %q", got, all, want)
	}
}

func bigMirror(b *testing.B, keys int) *scripted {
	b.Helper()
	m := newScripted(b, "/m")
	to := make(map[string]uint64, keys)
	for i := range keys {
		to[fmt.Sprintf("/m/app%d/web/hosts/%d", i%1000, i/1000)] = 1
	}
	m.relist(to)
	return m
}

// BenchmarkMirrorEvent is one event, and the question what it changed, with 100,000 keys.
func BenchmarkMirrorEvent(b *testing.B) {
	m := bigMirror(b, 100_000)
	for b.Loop() {
		before := m.Snapshot()
		m.event(b, "set", "/m/app7/web/hosts/7", "1", false)
		if keys, all := m.Changed(before, m.Snapshot()); all || len(keys) != 1 {
			b.Fatalf("changed: %q, all %v", keys, all)
		}
	}
}

// BenchmarkMirrorRelist is a list of 100,000 keys of which none has changed.
func BenchmarkMirrorRelist(b *testing.B) {
	m := bigMirror(b, 100_000)
	nodes := slices.Collect(m.Snapshot().All(""))
	for b.Loop() {
		m.load(list{Listing: Listing{Nodes: nodes, Index: m.index}})
	}
}
