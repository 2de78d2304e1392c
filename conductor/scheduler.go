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
	hostTTL time.Duration
	events  *event.Recorder
	log     *slog.Logger
	hint    chan struct{}
	metrics schedulerMetrics
}

func newScheduler(s *store.Store, apps *store.Mirror, hostTTL time.Duration, events *event.Recorder, log *slog.Logger, metrics prometheus.Registerer) *scheduler {
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
	hosts     *store.Mirror
	tracker   *hostTracker
	hostLog   hostLog
	withdrawn map[string]bool // lost hosts whose records were taken away
	swept     bool            // so were those of hosts that the cluster does not know
	written   uint64          // index of the newest own write below /apps
	writtenAt time.Time
	planned   view // that the last plan was made from, which was carried out
	plannedAt time.Time
	said      string // the last failure that was logged
}

// run schedules until ctx ends, which it does with the lease.
func (s *scheduler) run(ctx context.Context) error {
	s.log.Info("this host schedules now")
	defer s.log.Info("this host schedules no more")
	s.metrics.leading.Set(1)
	defer s.metrics.leading.Set(0)
	t := &term{scheduler: s, hosts: s.store.NewMirror(state.HostsDir), tracker: newHostTracker(s.hostTTL), withdrawn: map[string]bool{}}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.hosts.Run(ctx) })
	group.Go(func() error { t.loop(ctx); return nil })
	group.Go(func() error { return s.events.Trim(ctx) })
	return group.Wait()
}

func (t *term) loop(ctx context.Context) {
	for {
		wait := t.pass(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.hint:
		case <-t.hosts.Hint():
		case <-time.After(wait):
		}
	}
}

// pass plans, if there is anything new to plan from, and carries the plan out. What cannot be read
// decides nothing.
func (t *term) pass(ctx context.Context) (wait time.Duration) {
	apps, hosts, now := t.apps.Snapshot(), t.hosts.Snapshot(), time.Now()
	if !apps.Known || !hosts.Known {
		return schedulerResync
	}
	if behind := t.written > apps.Index; behind && now.Sub(t.writtenAt) < catchUp {
		return catchUp
	}
	alive, wake := t.tracker.observe(hosts, now)
	for _, e := range t.hostLog.observe(alive) {
		t.events.Record(e)
	}
	t.withdrawLost(ctx, alive)
	if !t.swept && now.Sub(hosts.Since) > patience {
		t.sweep(ctx, alive)
	}
	wait = schedulerResync
	if seen := newView(apps, hosts, alive); !seen.equal(t.planned) || now.Sub(t.plannedAt) >= schedulerResync {
		done, err := t.plan(ctx, apps, hosts, alive)
		if err != nil && ctx.Err() == nil {
			if err.Error() != t.said {
				t.said = err.Error()
				t.log.Warn("carry out the plan", "err", err)
			}
			wait = schedulerRetry
		}
		t.planned, t.plannedAt = view{}, now
		if done && err == nil {
			t.planned = seen
		}
	}
	if !wake.IsZero() {
		wait = min(wait, max(wake.Sub(now), time.Millisecond))
	}
	return wait
}

// plan makes a plan and carries it out. It tells whether all of it was done.
func (t *term) plan(ctx context.Context, apps, hosts store.Snapshot, alive map[string]schedule.Host) (done bool, err error) {
	started := time.Now()
	plan := schedule.Compute(schedule.Input{
		Apps: schedule.ReadApps(nodes(apps)), Hosts: alive, Observed: observedInstances(hosts, alive), NewID: state.NewInstanceID})
	t.metrics.planning.Observe(time.Since(started).Seconds())
	return t.apply(ctx, plan)
}

func nodes(snapshot store.Snapshot) func(yield func(schedule.Node) bool) {
	return func(yield func(schedule.Node) bool) {
		for n := range snapshot.All(state.AppsDir + "/") {
			if !yield(schedule.Node{Key: n.Key, Value: n.Value, Created: n.Created, Modified: n.Modified}) {
				return
			}
		}
	}
}

// apply carries out the changes in their order. A change that fails ends those of its container for
// this pass, and no other's: somebody may have written there what nobody should. After a lost race
// the next pass sees what the other wrote. It tells whether everything was done.
func (t *term) apply(ctx context.Context, plan []schedule.Change) (done bool, err error) {
	skipped := map[state.Ref]bool{}
	var failed []error
	for _, change := range plan {
		ref := state.RefOf(change.Key)
		if skipped[ref] {
			continue
		}
		node, err := t.write(ctx, change)
		switch {
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrExists), errors.Is(err, store.ErrNotFound):
			t.log.Debug("lost a race", "key", change.Key, "err", err)
			skipped[ref] = true
			continue
		case err != nil:
			failed = append(failed, fmt.Errorf("%s %s: %w", change.Kind, change.Key, err))
			if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrOutcomeUnknown) || ctx.Err() != nil {
				return false, errors.Join(failed...)
			}
			skipped[ref] = true
			continue
		}
		t.metrics.changes.WithLabelValues(change.Kind.String()).Inc()
		t.written, t.writtenAt = max(t.written, node.Modified), time.Now()
		level := slog.LevelInfo
		if change.Kind == schedule.Put || change.Kind == schedule.Prune {
			level = slog.LevelDebug
		}
		t.log.Log(ctx, level, change.Kind.String(), "key", change.Key, "reason", change.Reason)
		if e, ok := eventOf(change); ok {
			t.events.Record(e)
		}
	}
	return len(skipped) == 0, errors.Join(failed...)
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
