package conductor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/conductor/event"
	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
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
	next      time.Time       // when to decide again though nothing changed
	left      bool            // a part of the last plan was not carried out
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
	if news := t.tell(now); !news && now.Before(t.next) && t.tracker.ttl == t.hostTTL() {
		return t.next.Sub(now) // a large cluster's hosts renew their leases all the time
	}
	wait = t.decide(ctx, now)
	t.next = time.Now().Add(wait)
	return wait
}

// decide judges the hosts, plans and carries the plan out. It returns when to decide again though
// nothing changed.
func (t *term) decide(ctx context.Context, now time.Time) (wait time.Duration) {
	known := t.hosts.told.Since
	t.tracker.ttl = t.hostTTL()
	hosts, wake := t.tracker.observe(known, now)
	for _, e := range t.hostLog.observe(hosts) {
		t.events.Record(e)
	}
	if err := errors.Join(t.withdrawLost(ctx, hosts), t.sweep(ctx, hosts, now.Sub(known))); err != nil {
		t.complain(ctx, err)
		wake = earliest(wake, now.Add(schedulerRetry))
	}
	if patient := known.Add(patience); now.Before(patient) {
		wake = earliest(wake, patient)
	}
	t.planner.SetHosts(hosts)
	if now.Sub(known) < patience && anyMissing(hosts) {
		// They are about to renew their leases. What is placed without them is moved later.
		return max(time.Until(wake), time.Millisecond)
	}
	due := t.planner.Due(now)
	plan, again := t.planner.Plan(now)
	took := time.Since(now)
	if due {
		t.metrics.planning.Observe(took.Seconds())
	}
	wait = schedulerResync
	if err := t.apply(ctx, plan, time.Now().Add(max(writeTime, 2*took))); err != nil {
		t.complain(ctx, err)
		wait = schedulerRetry
	} else if t.left {
		wait = time.Millisecond
	}
	for _, at := range []time.Time{wake, again} {
		if !at.IsZero() {
			wait = min(wait, max(time.Until(at), time.Millisecond))
		}
	}
	return wait
}

// complain says what failed, once.
func (t *term) complain(ctx context.Context, err error) {
	if ctx.Err() == nil && err.Error() != t.said {
		t.said = err.Error()
		t.log.Warn("carry out the plan", "err", err)
	}
}

func anyMissing(hosts map[string]schedule.Host) bool {
	for _, host := range hosts {
		if host.Liveness == schedule.Missing {
			return true
		}
	}
	return false
}

// tell tells the planner, and the judge of hosts, what changed since they were told last. It returns
// whether anything did but that hosts renewed their leases.
func (t *term) tell(now time.Time) (news bool) {
	for _, s := range t.sources {
		snapshot := s.mirror.Snapshot()
		changed, all := s.mirror.Changed(s.told, snapshot)
		if all {
			changed = difference(s.told, snapshot)
		}
		news = news || all || !snapshot.Since.Equal(s.told.Since)
		for _, key := range changed {
			n, found := snapshot.Get(key)
			switch {
			case found && s == t.hosts && t.tracker.renewal(n, now):
				continue
			case found:
				t.planner.Set(schedule.Node{Key: n.Key, Value: n.Value, Created: n.Created, Modified: n.Modified}, now)
			default:
				t.planner.Unset(key)
			}
			news = true
		}
		if s == t.hosts {
			t.tracker.follow(snapshot, changed, all)
		}
		s.told = snapshot
	}
	return news
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
