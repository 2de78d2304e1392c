package conductor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	// writers is for how many containers changes are written at once. etcd makes one disk write of
	// what comes together.
	writers = 16
	// writeTime is how long a pass writes, at the least. What is left then is planned again: by then
	// something may have happened that matters more.
	writeTime = time.Second
)

// batch are the changes of one container, and what became of them.
type batch struct {
	ref     state.Ref
	changes []schedule.Change
	written []store.Node // by the first of them
	err     error        // of the next one; nil if there was none, or no time for it
}

// atOnce does something n times, as many at once as there are writers, and returns when all is done.
func atOnce(n int, do func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, writers) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	workers.Wait()
}

// batches are the changes of a plan, by container, in the order of the plan.
func batches(plan []schedule.Change) (all []*batch) {
	for start, i := 0, 1; i <= len(plan); i++ {
		if i == len(plan) || plan[i].Ref != plan[start].Ref {
			all = append(all, &batch{ref: plan[start].Ref, changes: plan[start:i]})
			start = i
		}
	}
	return all
}

// apply carries out a plan until the deadline: the changes of a container in their order, those of
// several containers at once, those that the plan has first before the others. A change that fails
// ends those of its container, and no other's: somebody may have written there what nobody should.
// After a lost race the next pass sees what the other wrote. What was not done is planned again.
func (t *term) apply(ctx context.Context, plan []schedule.Change, deadline time.Time) error {
	t.left = false
	all := batches(plan)
	p := &pacer{mirror: t.apps.mirror, deadline: deadline}
	atOnce(len(all), func(i int) { t.writeBatch(ctx, all[i], p) })
	var failed []error
	for _, b := range all {
		failed = append(failed, t.conclude(ctx, b))
	}
	return errors.Join(failed...)
}

// writeBatch writes changes while it may. Directories are removed to the end: once the keys in them
// are gone, nothing would tell that they are to go.
func (t *term) writeBatch(ctx context.Context, b *batch, p *pacer) {
	for _, change := range b.changes {
		if change.Kind != schedule.Prune && !p.wait(ctx) {
			return
		}
		node, err := t.write(ctx, change)
		if b.err = err; err != nil {
			p.failed(err)
			return
		}
		b.written = append(b.written, node)
		p.wrote(node)
	}
}

// conclude takes in what became of a container's changes.
func (t *term) conclude(ctx context.Context, b *batch) error {
	for i, node := range b.written {
		t.note(ctx, b.changes[i], node)
	}
	if len(b.written) == len(b.changes) {
		return nil
	}
	t.left = true
	t.planner.Touch(b.ref)
	next := b.changes[len(b.written)]
	switch {
	case b.err == nil: // there was no time for it
	case errors.Is(b.err, store.ErrConflict), errors.Is(b.err, store.ErrExists), errors.Is(b.err, store.ErrNotFound):
		t.log.Debug("lost a race", "key", next.Key, "err", b.err)
	default:
		return fmt.Errorf("%s %s: %w", next.Kind, next.Key, b.err)
	}
	return nil
}

// note remembers, counts and tells what was written.
func (t *term) note(ctx context.Context, change schedule.Change, node store.Node) {
	t.metrics.changes.WithLabelValues(change.Kind.String()).Inc()
	t.written, t.writtenAt = max(t.written, node.Modified), time.Now()
	level := slog.LevelInfo
	if change.Kind == schedule.Put || change.Kind == schedule.Prune {
		level = slog.LevelDebug
	}
	t.log.Log(ctx, level, change.Kind.String(), "key", change.Key, "reason", change.Reason)
	e, ok := eventOf(change)
	if news := t.refusals.news(change, e); ok && news {
		t.events.Record(e)
	}
}

func (t *term) write(ctx context.Context, change schedule.Change) (store.Node, error) {
	switch change.Kind {
	case schedule.Put:
		return t.store.Set(ctx, change.Key, change.Value, 0)
	case schedule.Create:
		return t.store.Create(ctx, change.Key, change.Value, 0)
	case schedule.Swap:
		return t.store.CompareAndSwap(ctx, change.Key, change.Value, change.PrevIndex)
	case schedule.Delete:
		if change.PrevIndex == 0 {
			return store.Node{}, t.store.Delete(ctx, change.Key)
		}
		return store.Node{}, t.store.CompareAndDelete(ctx, change.Key, change.PrevIndex)
	case schedule.Prune:
		return store.Node{}, t.store.DeleteEmptyDir(ctx, change.Key)
	}
	return store.Node{}, fmt.Errorf("unknown change %d", change.Kind)
}
