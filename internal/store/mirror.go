package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

const (
	// listAge is after how long, at the least, a mirror lists again though nothing seems wrong.
	listAge = 3 * time.Minute
	// grace is how long a mirror that lost its watch stays known while it lists again. What a
	// member's restart or a gateway's mends within it is no outage.
	grace = time.Second
)

// Mirror is a copy in memory of all that is below a directory of etcd, which follows it: it
// lists the directory, watches from there, and lists again whenever it cannot be sure that it
// saw every event. Every method is for concurrent use.
type Mirror struct {
	store   *Store
	dir     string
	log     *slog.Logger
	current atomic.Pointer[Snapshot]
	changes changes
	hint    chan struct{}
}

// NewMirror returns a mirror of dir, which knows nothing until it runs.
func (s *Store) NewMirror(dir string) *Mirror {
	m := &Mirror{store: s, dir: dir, log: s.log.With("dir", dir), hint: make(chan struct{}, 1)}
	m.current.Store(&Snapshot{Since: time.Now(), leaves: treeOf(nil), changes: &m.changes})
	return m
}

// NewMirrorWithDirs is NewMirror of a mirror that knows the directories in which nothing is, too:
// they are among the keys that changed where they come, go, or are filled. A directory that etcd
// makes for a key that it does not list is known with the next list only.
func (s *Store) NewMirrorWithDirs(dir string) *Mirror {
	m := s.NewMirror(dir)
	snapshot := m.Snapshot()
	snapshot.empty = iradix.New[struct{}]()
	m.current.Store(&snapshot)
	return m
}

// Snapshot returns the mirror's present state. It does not block.
func (m *Mirror) Snapshot() Snapshot { return *m.current.Load() }

// Hint receives "look again" after the content or the state changed: one for any number of
// changes. It is for one receiver, and is never closed.
func (m *Mirror) Hint() <-chan struct{} { return m.hint }

// Run follows etcd until ctx ends, and then returns nil. It must run only once at a time.
func (m *Mirror) Run(ctx context.Context) error {
	retry := newBackoff()
	var cause error // of the list to come; nil for the first
	for ctx.Err() == nil {
		l, err := m.list(ctx, cause)
		if err != nil {
			m.lose(ctx, err)
		} else {
			m.load(l)
			var followed bool
			if followed, cause = m.follow(ctx, l); followed {
				retry.Reset()
				continue
			}
		}
		// Neither a list that fails nor a watch that never works is worth a tight loop.
		if pause(ctx, retry.NextBackOff()) != nil {
			break
		}
	}
	return nil
}

// list is a listing that was read from our cluster, with what else is to be known of it.
type list struct {
	Listing
	cluster string    // X-Etcd-Cluster-Id
	until   time.Time // when it is too old
}

// list lists the directory, because of cause. While the mirror is known it stays so for a grace
// only.
func (m *Mirror) list(ctx context.Context, cause error) (list, error) {
	m.store.metrics.relists.WithLabelValues(m.dir).Inc()
	var (
		l    list
		err  error
		wait sync.WaitGroup
		done = make(chan struct{})
	)
	wait.Go(func() {
		defer close(done)
		l, err = m.listChecked(ctx)
	})
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		if s := m.Snapshot(); s.Known || s.Err == nil {
			late := fmt.Errorf("%w: no list within %v", ErrUnavailable, grace)
			if cause != nil {
				late = fmt.Errorf("%w, after: %w", late, cause)
			}
			m.lose(ctx, late)
		}
	}
	wait.Wait()
	return l, err
}

// listChecked lists first and asks for the cluster's id then: what was read from an etcd that had
// been wiped meets a check that fails.
func (m *Mirror) listChecked(ctx context.Context) (l list, err error) {
	l.Listing, l.cluster, err = m.store.list(ctx, m.dir)
	if err != nil {
		return l, err
	}
	l.until = time.Now().Add(jitter(listAge))
	return l, m.store.checkCluster(ctx)
}

// follow applies events until there is a reason to list again, which it returns. It tells
// whether the watch worked at all.
func (m *Mirror) follow(ctx context.Context, l list) (worked bool, reason error) {
	for time.Now().Before(l.until) {
		if err := m.followOne(ctx, l.cluster); err != nil {
			m.log.Debug("mirror lists again", "err", err)
			return worked, err
		}
		worked = true
	}
	return true, errListAge
}

// followOne waits for one event and applies it.
func (m *Mirror) followOne(ctx context.Context, cluster string) error {
	snapshot := m.Snapshot()
	event, err := m.store.poll(ctx, m.dir, true, snapshot.Index+1)
	switch {
	case err != nil:
		return err
	case event.cluster != cluster:
		return errOtherCluster
	case event.node == nil:
		// Its index moves on with etcd's: everybody's events push the watch window forward.
		snapshot.Index = max(snapshot.Index, event.index)
		m.current.Store(&snapshot)
		return nil
	}
	return m.apply(event)
}

// apply shows what an event changed.
func (m *Mirror) apply(event answer) error {
	now, keys, err := m.Snapshot().after(m.dir, event)
	if err != nil {
		return err
	}
	now.changed = m.changes.add(keys...)
	m.show(now)
	return nil
}

// load shows what was listed.
func (m *Mirror) load(l list) {
	before := m.Snapshot()
	now := before
	now.Index, now.Known, now.Listed, now.Err = l.Index, true, true, nil
	var keys []string
	now.leaves, keys = before.replaced(l.Nodes)
	if now.empty != nil {
		var dirs []string
		now.empty, dirs = before.dirsReplaced(l.EmptyDirs)
		keys = append(keys, dirs...)
	}
	now.changed = m.changes.add(keys...)
	if !before.Known {
		now.Since = time.Now()
		m.log.Info("mirror is known", "keys", len(l.Nodes), "after", now.Since.Sub(before.Since).Round(time.Millisecond))
	}
	m.show(now)
}

// lose keeps the content, and says that nothing newer is known.
func (m *Mirror) lose(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // not etcd's fault
	}
	snapshot := m.Snapshot()
	changed := snapshot.Known || snapshot.Err == nil
	if snapshot.Known {
		snapshot.Known, snapshot.Since = false, time.Now()
	}
	// An etcd that was wiped is away first, and then it is another.
	if changed || errors.Is(err, ErrForeignCluster) && !errors.Is(snapshot.Err, ErrForeignCluster) {
		m.log.Warn("mirror is unknown", "err", err)
	}
	snapshot.Err = err
	if !changed {
		m.current.Store(&snapshot)
		return
	}
	m.show(snapshot)
}

func (m *Mirror) show(s Snapshot) {
	m.current.Store(&s)
	select {
	case m.hint <- struct{}{}:
	default: // one hint that was not yet taken says it all
	}
}
