package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// What a mirror makes of the events is what etcd lists, whatever is done.
func TestEmptyDirsAreThoseOfEtcd(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	mustSet(t, s, "/m/old/a", "1")
	if err := s.Delete(t.Context(), "/m/old/a"); err != nil {
		t.Fatal(err)
	}
	m := s.NewMirrorWithDirs("/m")
	run(t, m)
	waitKnown(t, m, 10*time.Second)
	seen := m.Snapshot()
	if got := slices.Collect(seen.EmptyDirs("/m")); !slices.Equal(got, []string{"/m/old"}) {
		t.Fatalf("listed: %q", got)
	}
	known := map[string]bool{"/m/old": true}
	paths := []string{"/m/a", "/m/a/b", "/m/a/b/c", "/m/a/d", "/m/ab/c", "/m/old", "/m/old/x", "/m"}
	for range 300 {
		key := paths[rand.IntN(len(paths))]
		var err error
		switch rand.IntN(5) {
		case 0, 1:
			_, err = s.Set(t.Context(), key, "1", 0)
		case 2:
			err = s.Delete(t.Context(), key)
		case 3:
			err = s.DeleteEmptyDir(t.Context(), key)
		case 4:
			if rand.IntN(3) == 0 {
				err = s.DeleteDir(t.Context(), key)
			}
		}
		_ = err // not all that is tried can be done
		want, err := s.List(t.Context(), "/m")
		if err != nil {
			t.Fatal(err)
		}
		etcdtest.WaitFor(t, 5*time.Second, func() error {
			if got := slices.Collect(m.Snapshot().EmptyDirs("")); !slices.Equal(got, want.EmptyDirs) {
				return fmt.Errorf("after %s: %q, etcd has %q", key, got, want.EmptyDirs)
			}
			return nil
		})
		now := m.Snapshot()
		keys, all := m.Changed(seen, now)
		if all {
			t.Fatal("any may have changed")
		}
		for _, key := range keys {
			if known[key] = now.IsEmptyDir(key); !known[key] {
				delete(known, key)
			}
		}
		if len(known) != len(want.EmptyDirs) {
			t.Fatalf("the changes %q lead to %v, etcd has %q", keys, known, want.EmptyDirs)
		}
		seen = now
	}
}

func TestMirrorWithoutDirsHasNone(t *testing.T) {
	t.Parallel()
	m := newScripted(t, "/m")
	m.relist(map[string]uint64{"/m/a/b": 1})
	before := m.Snapshot()
	m.event(t, "delete", "/m/a/b", "", false)
	m.wantChanged(t, before, "/m/a/b")
	if m.Snapshot().IsEmptyDir("/m/a") {
		t.Error("an empty directory is known")
	}
}
