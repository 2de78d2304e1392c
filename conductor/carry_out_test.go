package conductor

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/conductor/event"
	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// newTestScheduler is a scheduler that tells nobody what it does.
func newTestScheduler(s *store.Store, apps *store.Mirror) *scheduler {
	log := slog.New(slog.DiscardHandler)
	return newScheduler(s, apps, func() time.Duration { return hostTTL }, event.New(s, func() bool { return false }, log), log, prometheus.NewRegistry())
}

// newTestTerm is the term of a scheduler of that store.
func newTestTerm(s *store.Store) *term {
	return newTestScheduler(s, s.NewMirror(state.AppsDir)).newTerm()
}

// creating is a plan that creates so many slots of each container, one after the other.
func creating(slots int, names ...string) (plan []schedule.Change) {
	for _, name := range names {
		ref := state.Ref{App: "app", Name: name}
		for n := 1; n <= slots; n++ {
			plan = append(plan, schedule.Change{Ref: ref, Kind: schedule.Create, Key: ref.SlotKey(n), Value: "{}", Reason: "new slot"})
		}
	}
	return plan
}

// TestApply carries plans out.
func TestApply(t *testing.T) {
	s := openStore(t, etcdtest.Start(t, 1).Endpoints()...)
	later := func() time.Time { return time.Now().Add(time.Minute) }
	written := func(t *testing.T, name string) (slots []string, indexes []uint64) {
		t.Helper()
		ref := state.Ref{App: "app", Name: name}
		listing, err := s.List(t.Context(), ref.Dir())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range listing.Nodes {
			slots, indexes = append(slots, strings.TrimPrefix(n.Key, ref.Dir()+"/hosts/")), append(indexes, n.Modified)
		}
		return slots, indexes
	}

	t.Run("in order within a container", func(t *testing.T) {
		term := newTestTerm(s)
		var names []string
		for i := range 3 * writers {
			names = append(names, fmt.Sprintf("ordered%d", i))
		}
		if err := term.apply(t.Context(), creating(5, names...), later()); err != nil || term.left {
			t.Fatalf("%v, left: %v", err, term.left)
		}
		for _, name := range names {
			if slots, indexes := written(t, name); len(slots) != 5 || !slices.IsSorted(indexes) {
				t.Errorf("%s has slots %v at %v", name, slots, indexes)
			}
		}
	})
	t.Run("a lost race ends the changes of its container only", func(t *testing.T) {
		term := newTestTerm(s)
		if _, err := s.Set(t.Context(), state.Ref{App: "app", Name: "raced"}.SlotKey(2), "other", 0); err != nil {
			t.Fatal(err)
		}
		if err := term.apply(t.Context(), creating(3, "raced", "free"), later()); err != nil || !term.left {
			t.Errorf("%v, left: %v", err, term.left)
		}
		if slots, _ := written(t, "raced"); !slices.Equal(slots, []string{"1", "2"}) {
			t.Errorf("of the one that lost there are %v", slots)
		}
		if slots, _ := written(t, "free"); len(slots) != 3 {
			t.Errorf("of the other there are %v", slots)
		}
	})
	t.Run("an error is told", func(t *testing.T) {
		term := newTestTerm(s)
		if _, err := s.Set(t.Context(), state.Ref{App: "app", Name: "broken"}.Dir()+"/hosts", "a leaf", 0); err != nil {
			t.Fatal(err)
		}
		if err := term.apply(t.Context(), creating(2, "broken", "whole"), later()); err == nil || !strings.Contains(err.Error(), "broken/hosts/1") {
			t.Error(err)
		}
		if slots, _ := written(t, "whole"); len(slots) != 2 {
			t.Errorf("of the other there are %v", slots)
		}
	})
	t.Run("no longer than it may", func(t *testing.T) {
		term := newTestTerm(s)
		if err := term.apply(t.Context(), creating(2, "late"), time.Now()); err != nil || !term.left {
			t.Errorf("%v, left: %v", err, term.left)
		}
		if slots, _ := written(t, "late"); len(slots) > 0 {
			t.Errorf("there are %v", slots)
		}
	})
	t.Run("no further than who follows can", func(t *testing.T) {
		term := newTestTerm(s) // its mirror does not run
		if err := term.apply(t.Context(), creating(2*maxLag, "far"), time.Now().Add(3*time.Second)); err != nil || !term.left {
			t.Errorf("%v, left: %v", err, term.left)
		}
		if slots, indexes := written(t, "far"); len(slots) == 0 || slices.Max(indexes) > maxLag+1 {
			t.Errorf("%d slots, up to index %d", len(slots), slices.Max(indexes))
		}
	})
}
