package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// memoryStore is a store in memory.
type memoryStore struct {
	mu      sync.Mutex
	nodes   []store.Node
	next    int
	err     error // of every write
	unknown bool
}

func (m *memoryStore) Append(_ context.Context, dir, value string, ttl time.Duration) (store.Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return store.Node{}, m.err
	}
	m.next++
	m.nodes = append(m.nodes, store.Node{Key: fmt.Sprintf("%s/%020d", dir, m.next), Value: value, TTL: ttl})
	return m.nodes[len(m.nodes)-1], nil
}

func (m *memoryStore) List(context.Context, string) (store.Listing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return store.Listing{Nodes: slices.Clone(m.nodes)}, nil
}

func (m *memoryStore) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.nodes = slices.DeleteFunc(m.nodes, func(n store.Node) bool { return n.Key == key })
	return store.ErrNotFound // as if somebody else had been faster
}

func (m *memoryStore) known() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.unknown
}

func (m *memoryStore) change(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// events are all that were written.
func (m *memoryStore) events(t *testing.T) (all []state.Event) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, node := range m.nodes {
		var e state.Event
		if err := json.Unmarshal([]byte(node.Value), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// inBubble runs test in a synctest bubble with a recorder that runs.
func inBubble(t *testing.T, test func(t *testing.T, m *memoryStore, r *Recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &memoryStore{}
		r := New(m, m.known, slog.New(slog.NewTextHandler(t.Output(), nil)))
		ctx, cancel := context.WithCancel(context.Background())
		var wait sync.WaitGroup
		wait.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer wait.Wait()
		defer cancel()
		test(t, m, r)
	})
}

func failed(slot int, reason string) state.Event {
	return state.Event{Kind: "failed", Host: "10.0.0.1", App: "dummy", Name: "nginx", Slot: slot, Reason: reason}
}

func TestRecorderWritesInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memoryStore, r *Recorder) {
		began := time.Now()
		for i := range 100 {
			r.Record(failed(i, "port 80 refuses"))
		}
		time.Sleep(time.Second)
		written := len(m.events(t))
		if written < 40 || written > 51 {
			t.Errorf("%d events in a second", written)
		}
		time.Sleep(2 * time.Second)
		for i, e := range m.events(t) {
			want := failed(i, "port 80 refuses")
			want.Time = began.UTC()
			if e != want {
				t.Errorf("wrote %+v, want %+v", e, want)
			}
		}
		if len(m.nodes) != 100 || m.nodes[0].TTL != 24*time.Hour {
			t.Errorf("wrote %d events, the first for %v", len(m.nodes), m.nodes[0].TTL)
		}
	})
}

func TestRecorderDoesNotRepeatItself(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memoryStore, r *Recorder) {
		for range 3 {
			for _, e := range []state.Event{failed(1, "a"), failed(2, "a"), failed(1, "a"), failed(2, "b"), failed(2, "b")} {
				time.Sleep(time.Second)
				r.Record(e)
			}
		}
		time.Sleep(time.Second)
		said := ""
		for _, e := range m.events(t) {
			said += fmt.Sprint(" ", e.Slot, e.Reason)
		}
		if want := " 1a 2a 2b 2a 2b 2a 2b"; said != want {
			t.Errorf("wrote%s, want%s", said, want)
		}
		for i := range 3 * subjects {
			r.Record(failed(i, "x"))
			time.Sleep(pace)
		}
		if len(r.last) > subjects {
			t.Errorf("remembers %d subjects", len(r.last))
		}
	})
}

func TestRecorderInAnOutage(t *testing.T) {
	for name, test := range map[string]struct{ hurt, heal func(*memoryStore) }{
		"etcd does not answer":  {func(m *memoryStore) { m.err = store.ErrUnavailable }, func(m *memoryStore) { m.err = nil }},
		"etcd may be another's": {func(m *memoryStore) { m.unknown = true }, func(m *memoryStore) { m.unknown = false }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *memoryStore, r *Recorder) {
				r.Record(failed(0, ""))
				time.Sleep(time.Second)
				m.change(func() { test.hurt(m) })
				for i := range 300 {
					time.Sleep(time.Second)
					r.Record(failed(i+1, ""))
				}
				if n := len(m.events(t)); n != 1 {
					t.Errorf("wrote %d events without etcd", n)
				}
				m.change(func() { test.heal(m) })
				time.Sleep(10 * time.Second)
				r.Record(failed(301, ""))
				r.Record(failed(302, ""))
				time.Sleep(time.Second)
				events := m.events(t)
				if len(events) != 1+waiting+2 {
					t.Fatalf("wrote %d events", len(events))
				}
				for i, e := range events[:1+waiting] {
					if e.Slot != i || e.LeftOut != 0 {
						t.Errorf("event %d is %+v", i, e)
					}
				}
				if first, second := events[1+waiting], events[2+waiting]; first.LeftOut != 300-waiting || second.LeftOut != 0 {
					t.Errorf("after the outage: %+v and %+v; %d are left out", first, second, 300-waiting)
				}
			})
		})
	}
}

func TestRecorderOfARefusedEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memoryStore, r *Recorder) {
		m.change(func() { m.err = fmt.Errorf("append: %w", store.ErrNotDir) })
		for i := range 3 {
			r.Record(failed(i, ""))
		}
		time.Sleep(time.Second)
		m.change(func() { m.err = nil })
		r.Record(failed(3, ""))
		time.Sleep(time.Second)
		if events := m.events(t); len(events) != 1 || events[0].Slot != 3 || events[0].LeftOut != 3 {
			t.Errorf("wrote %+v", events)
		}
	})
}

func TestTrimKeepsTheNewest(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memoryStore, r *Recorder) {
		add := func(n int) {
			for range n {
				if _, err := m.Append(t.Context(), state.EventsDir, strconv.Itoa(m.next), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		add(kept + 7)
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if err := r.Trim(ctx); err != nil {
				t.Error(err)
			}
		})
		defer wait.Wait()
		defer cancel()
		wantTrimmed := func(what string, n int, first string) {
			t.Helper()
			if m.change(func() {}); len(m.nodes) != n || m.nodes[0].Value != first {
				t.Errorf("%s: %d events are left, the first is %s", what, len(m.nodes), m.nodes[0].Value)
			}
		}
		time.Sleep(time.Second)
		wantTrimmed("at first", kept, "7")
		add(5)
		time.Sleep(trimming)
		wantTrimmed("later", kept, "12")
		m.change(func() { m.unknown = true })
		add(5)
		time.Sleep(trimming)
		wantTrimmed("while etcd may be another's", kept+5, "12")
		m.change(func() { m.unknown, m.err = false, errors.New("failure") })
		time.Sleep(trimming)
		wantTrimmed("while etcd fails", kept+5, "12")
		m.change(func() { m.err = nil })
		time.Sleep(trimming + time.Second)
		wantTrimmed("in the end", kept, "17")
	})
}

func TestEventsInEtcd(t *testing.T) {
	s, err := store.New(store.Options{Endpoints: etcdtest.Start(t, 1).Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	r := New(s, func() bool { return true }, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(wait.Wait)
	t.Cleanup(cancel)
	for i := range 20 {
		r.Record(failed(i+1, "port 80 refuses"))
	}
	etcdtest.WaitFor(t, 10*time.Second, func() error {
		events, err := s.List(t.Context(), state.EventsDir)
		if err == nil && len(events.Nodes) != 20 {
			err = fmt.Errorf("%d events are there", len(events.Nodes))
		}
		for i, node := range events.Nodes {
			var e state.Event
			if json.Unmarshal([]byte(node.Value), &e) != nil || e.Slot != i+1 || e.Time.IsZero() || node.TTL < 23*time.Hour {
				return fmt.Errorf("event %d is %+v", i+1, node)
			}
		}
		return err
	})
	// Trimming deletes from the oldest on what the directory has too many of.
	var small Recorder
	small.store, small.known, small.log = oldest{s}, r.known, r.log
	if err := small.trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, err := s.List(t.Context(), state.EventsDir)
	if err != nil || len(events.Nodes) != 15 {
		t.Errorf("after trimming: %d events, %v", len(events.Nodes), err)
	}
}

// oldest is a store that has so many events more that five are too many.
type oldest struct{ *store.Store }

func (o oldest) List(ctx context.Context, dir string) (store.Listing, error) {
	l, err := o.Store.List(ctx, dir)
	for len(l.Nodes) < kept+5 {
		l.Nodes = append(l.Nodes, store.Node{Key: "newer"})
	}
	return l, err
}
