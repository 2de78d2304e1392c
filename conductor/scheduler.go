package conductor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/conductor/event"
	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/msg"
)

const (
	schedulerResync = 10 * time.Second
	schedulerRetry  = time.Second
	// catchUp is how long the scheduler waits for its own writes to come back through the mirror
	// before it plans again all the same.
	catchUp = 2 * time.Second
)

// scheduler decides which host runs what, while this conductor holds the scheduler's lease.
type scheduler struct {
	store   *store.Store
	apps    *store.Mirror
	hostTTL func() time.Duration // a setting of the cluster
	events  *event.Recorder
	log     *slog.Logger
	hint    chan struct{}
	metrics schedulerMetrics
}

func newScheduler(s *store.Store, apps *store.Mirror, hostTTL func() time.Duration, events *event.Recorder, log *slog.Logger, metrics prometheus.Registerer) *scheduler {
	return &scheduler{store: s, apps: apps, hostTTL: hostTTL, events: events, log: log, hint: make(chan struct{}, 1), metrics: newSchedulerMetrics(metrics)}
}

// wake makes the scheduler look again. It never blocks.
func (s *scheduler) wake() {
	select {
	case s.hint <- struct{}{}:
	default:
	}
}

// term is one holding of the lease: nothing is remembered from one to the next.
type term struct {
	*scheduler
	sources   []*source // what the planner is told of
	hosts     *source
	apps      *source
	tracker   *hostTracker
	planner   *schedule.Planner
	hostLog   hostLog
	withdrawn map[string]bool // lost hosts whose records were taken away
	swept     bool            // so were those of hosts that the cluster does not know
	written   uint64          // index of the newest own write below /apps
	writtenAt time.Time
	refusals  refusals
	said      string // the last failure that was logged
}

// source is a part of the store that the planner follows.
type source struct {
	mirror *store.Mirror
	told   store.Snapshot // what the planner knows of it
}

// run schedules until ctx ends, which it does with the lease.
func (s *scheduler) run(ctx context.Context) error {
	s.log.Info("this host schedules now")
	defer s.log.Info("this host schedules no more")
	s.metrics.leading.Set(1)
	defer s.metrics.leading.Set(0)
	t := s.newTerm()
	group, ctx := errgroup.WithContext(ctx)
	for _, source := range t.sources[1:] { // that of apps runs anyway
		group.Go(func() error { return source.mirror.Run(ctx) })
		group.Go(func() error { s.passOn(ctx, source.mirror.Hint()); return nil })
	}
	group.Go(func() error { t.loop(ctx); return nil })
	group.Go(func() error { return s.events.Trim(ctx) })
	return group.Wait()
}

func (s *scheduler) newTerm() *term {
	t := &term{scheduler: s, apps: &source{mirror: s.apps}, hosts: &source{mirror: s.store.NewMirror(state.HostsDir)},
		tracker: newHostTracker(s.hostTTL()), planner: schedule.NewPlanner(state.NewInstanceID), withdrawn: map[string]bool{}, refusals: refusals{}}
	t.sources = []*source{t.apps, t.hosts, {mirror: s.store.NewMirror(state.SecretsDir)}, {mirror: s.store.NewMirror(state.ConfigsDir)}}
	return t
}

// passOn wakes the scheduler for each hint, until ctx ends.
func (s *scheduler) passOn(ctx context.Context, hints <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hints:
			s.wake()
		}
	}
}

func (t *term) loop(ctx context.Context) {
	for {
		wait := t.pass(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.hint:
		case <-time.After(wait):
		}
	}
}

// pass plans for what changed, and carries the plan out. What cannot be read decides nothing.
func (t *term) pass(ctx context.Context) (wait time.Duration) {
	now := time.Now()
	for _, source := range t.sources {
		if !source.mirror.Snapshot().Known {
			return schedulerResync
		}
	}
	if behind := t.written > t.apps.mirror.Snapshot().Index; behind && now.Sub(t.writtenAt) < catchUp {
		return catchUp
	}
	t.tell(now)
	t.tracker.ttl = t.hostTTL()
	alive, wake := t.tracker.observe(t.hosts.told.Since, now)
	for _, e := range t.hostLog.observe(alive) {
		t.events.Record(e)
	}
	t.withdrawLost(ctx, alive)
	if !t.swept && now.Sub(t.hosts.told.Since) > patience {
		t.sweep(ctx, alive)
	}
	t.planner.SetHosts(alive)
	if now.Sub(t.hosts.told.Since) < patience && anyMissing(alive) {
		// They are about to renew their leases. What is placed without them is moved later.
		return max(time.Until(wake), time.Millisecond)
	}
	due := t.planner.Due(now)
	plan, again := t.planner.Plan(now)
	if due {
		t.metrics.planning.Observe(time.Since(now).Seconds())
	}
	wait = schedulerResync
	if err := t.apply(ctx, plan); err != nil && ctx.Err() == nil {
		if err.Error() != t.said {
			t.said = err.Error()
			t.log.Warn("carry out the plan", "err", err)
		}
		wait = schedulerRetry
	}
	for _, at := range []time.Time{wake, again} {
		if !at.IsZero() {
			wait = min(wait, max(time.Until(at), time.Millisecond))
		}
	}
	return wait
}

func anyMissing(hosts map[string]schedule.Host) bool {
	for _, host := range hosts {
		if host.Liveness == schedule.Missing {
			return true
		}
	}
	return false
}

// tell tells the planner, and the judge of hosts, what changed since they were told last.
func (t *term) tell(now time.Time) {
	for _, s := range t.sources {
		snapshot := s.mirror.Snapshot()
		changed, all := s.mirror.Changed(s.told, snapshot)
		if all {
			changed = difference(s.told, snapshot)
		}
		for _, key := range changed {
			if n, found := snapshot.Get(key); found {
				t.planner.Set(schedule.Node{Key: n.Key, Value: n.Value, Created: n.Created, Modified: n.Modified}, now)
			} else {
				t.planner.Unset(key)
			}
		}
		if s == t.hosts {
			t.tracker.follow(snapshot, changed, all)
		}
		s.told = snapshot
	}
}

// difference are all keys of a snapshot, and those that it lost since another.
func difference(before, now store.Snapshot) (keys []string) {
	for node := range now.All("/") {
		keys = append(keys, node.Key)
	}
	for node := range before.All("/") {
		if _, still := now.Get(node.Key); !still {
			keys = append(keys, node.Key)
		}
	}
	return keys
}

// apply carries out the changes in their order. A change that fails ends those of its container for
// this pass, and no other's: somebody may have written there what nobody should. After a lost race
// the next pass sees what the other wrote. What was not done is planned again.
func (t *term) apply(ctx context.Context, plan []schedule.Change) error {
	skipped := map[state.Ref]bool{}
	var failed []error
	for i, change := range plan {
		ref := state.RefOf(change.Key)
		if skipped[ref] {
			continue
		}
		node, err := t.write(ctx, change)
		if err != nil {
			skipped[ref] = true
			t.planner.Touch(ref)
		}
		switch {
		case err == nil:
			t.note(ctx, change, node)
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrExists), errors.Is(err, store.ErrNotFound):
			t.log.Debug("lost a race", "key", change.Key, "err", err)
			t.wake()
		default:
			failed = append(failed, fmt.Errorf("%s %s: %w", change.Kind, change.Key, err))
			if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrOutcomeUnknown) || ctx.Err() != nil {
				for _, left := range plan[i:] {
					t.planner.Touch(state.RefOf(left.Key))
				}
				return errors.Join(failed...)
			}
		}
	}
	return errors.Join(failed...)
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

// withdrawLost takes away the DNS records of hosts that were lost, once for each loss. If too many
// are missing, they more likely serve and only cannot say so.
func (t *term) withdrawLost(ctx context.Context, hosts map[string]schedule.Host) {
	if schedule.Braked(hosts) {
		return
	}
	for ip, host := range hosts {
		if host.Liveness != schedule.Lost {
			delete(t.withdrawn, ip)
			continue
		}
		if t.withdrawn[ip] {
			continue
		}
		n, err := t.withdraw(ctx, ip)
		if err != nil {
			t.log.Warn("withdraw the records of a lost host", "host", ip, "err", err)
			continue
		}
		t.withdrawn[ip] = true
		t.log.Info("host is lost", "host", ip, "withdrawn", n)
	}
}

// withdraw deletes each record as it was seen. A host that comes back writes all of its records
// anew once it has its lease: what was seen before there was a lease is what it left behind.
func (t *term) withdraw(ctx context.Context, ip string) (n int, err error) {
	listing, err := t.store.List(ctx, state.RecordsDir)
	if err != nil {
		return 0, err
	}
	if _, err := t.store.Get(ctx, state.HostLeaseKey(ip)); !errors.Is(err, store.ErrNotFound) {
		return 0, err // nil: it is back
	}
	return t.deleteRecords(ctx, listing, func(host string) bool { return host == ip })
}

// sweep takes away the records of hosts that the cluster does not know any more.
func (t *term) sweep(ctx context.Context, hosts map[string]schedule.Host) {
	listing, err := t.store.List(ctx, state.RecordsDir)
	if err == nil {
		_, err = t.deleteRecords(ctx, listing, func(host string) bool { _, known := hosts[host]; return !known })
	}
	if err != nil {
		t.log.Warn("withdraw the records of forgotten hosts", "err", err)
		return
	}
	t.swept = true
}

func (t *term) deleteRecords(ctx context.Context, listing store.Listing, gone func(host string) bool) (n int, err error) {
	for _, node := range listing.Nodes {
		var record msg.Service
		if json.Unmarshal([]byte(node.Value), &record) != nil || !gone(record.Host) || !state.IsInstanceRecord(node.Key) {
			continue
		}
		err := t.store.CompareAndDelete(ctx, node.Key, node.Modified)
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			return n, err
		}
		n++
	}
	return n, nil
}
