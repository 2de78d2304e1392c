package agent

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/seal"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// Engine is what the agent needs of Docker.
type Engine interface {
	List(ctx context.Context) ([]engine.Container, error)
	Create(ctx context.Context, spec engine.Spec) (id string, err error) // engine.ErrNoImage
	Pull(ctx context.Context, image string, login engine.Login) error
	Start(ctx context.Context, id string) error
	Rename(ctx context.Context, id, name string) error
	Stop(ctx context.Context, id string, grace time.Duration) error
	Halt(ctx context.Context, id string, grace time.Duration) error
	Exit(ctx context.Context, id string) (engine.Exit, error)
	Exec(ctx context.Context, id string, command []string, after string) (engine.Exec, error)
	Put(ctx context.Context, id string, files []engine.File) error
	Volumes(ctx context.Context) (map[string]state.Volume, error)
	RemoveVolume(ctx context.Context, name string) error
	Image(ctx context.Context, name string) (engine.Image, error) // engine.ErrNoImage
	UsedImages(ctx context.Context) (map[string]bool, error)
	RemoveImage(ctx context.Context, name string) error
}

// Mirror is what the agent needs of a store.Mirror of /apps.
type Mirror interface {
	Snapshot() store.Snapshot
	Changed(since, until store.Snapshot) (keys []string, all bool)
}

// Store is what the agent needs of a store.Store.
type Store interface {
	keyStore
	Get(ctx context.Context, key string) (store.Node, error) // never from a member that is behind
	CompareAndSwap(ctx context.Context, key, value string, prevIndex uint64) (store.Node, error)
}

// Options make an Agent.
type Options struct {
	HostIP string
	Engine Engine
	Apps   Mirror
	Store  Store
	Lease  Lease // of the host; nil: nothing is fenced
	// Removals is a mirror of the requests to this host to remove volumes; nil: there are none.
	Removals Mirror
	// SecretKey is the cluster's key. Its error says what to do to have it; nil: there is none.
	SecretKey func() (seal.Key, error)
	// Connections tells when an instance is drained; nil: nobody knows.
	Connections Connections
	Events      func(state.Event) // is told of instances that come into another phase; nil: nobody
	Log         *slog.Logger
	// Metrics is where the agent registers its own; nil: nowhere.
	Metrics prometheus.Registerer
}

// Timing of the loop.
const (
	resync = 15 * time.Second // between two looks at Docker when nothing hints at a change
	// hanging is how long Docker may fail to answer before the host takes no new slots.
	hanging = 15 * time.Second
)

// Agent reconciles this host's containers with the slots assigned to it.
type Agent struct {
	Options
	assigned  *assignments
	prober    *prober
	publisher *publisher
	volumes   volumes
	images    *images
	metrics   metrics
	hint      chan struct{}
	// volumesHint is a hint to look at the volumes.
	volumesHint chan struct{}

	sight      sight
	containers []engine.Container
	listedOK   bool
	seen       atomic.Pointer[sighting] // the same for Fence

	begun time.Time
	fence fence

	mu     sync.Mutex
	memory map[string]*memory // by instance
	work   sync.WaitGroup

	starts, pulls, stops, exits places
}

// New makes an Agent; it does no I/O.
func New(options Options) *Agent {
	a := &Agent{Options: options, metrics: newMetrics(options.Metrics), images: newImages(), memory: map[string]*memory{},
		hint: make(chan struct{}, 1), volumesHint: make(chan struct{}, 1),
		begun: time.Now(), fence: fence{halts: map[string]time.Time{}},
		starts: newPlaces(startPlaces), pulls: newPlaces(pullPlaces), stops: newPlaces(stopPlaces), exits: newPlaces(exitPlaces)}
	a.assigned = newAssignments(options.HostIP, options.Apps)
	a.prober = newProber(newChecker(options.Engine), a.Hint)
	a.publisher = newPublisher(options.Store, options.HostIP, func() bool { return options.Apps.Snapshot().Known }, options.Log, a.Hint)
	a.publisher.published = a.tell
	return a
}

// Hint makes the agent look again. It never blocks; hints may be lost, doubled or late.
func (a *Agent) Hint() {
	select {
	case a.hint <- struct{}{}:
	default:
	}
}

// Reannounce has all that this host announces written again. It is for a host that comes back
// after its lease: what it announced was withdrawn, or just is being.
func (a *Agent) Reannounce() {
	a.publisher.again()
	a.Hint() // what may not run without the host's lease may be started
}

// Condition says why this host should take no new slots, "" if it may.
func (a *Agent) Condition() string {
	last := a.sight.listed.get()
	if last.IsZero() {
		return "Docker was not reached yet"
	}
	if time.Since(last) > resync+hanging {
		return state.ConditionHanging
	}
	return ""
}

// Run reconciles until ctx ends. It then lets the actions in hand finish, but starts none, and
// leaves containers and records as they are.
func (a *Agent) Run(ctx context.Context) error {
	defer a.prober.wait()
	defer a.work.Wait()
	var beside sync.WaitGroup
	defer beside.Wait()
	for _, run := range []func(context.Context){a.publisher.run, a.tendVolumes, a.nameImages, a.tendImages} {
		beside.Go(func() { run(ctx) })
	}
	for {
		wake := a.pass(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-a.hint:
		case <-time.After(wake):
		}
	}
}

// pass compares once, starts what is to be done, and says how long to wait for the next time.
func (a *Agent) pass(ctx context.Context) time.Duration {
	busy := a.busy() // before the look: an action that ends between the two may not show in it
	if err := a.look(ctx); err != nil {
		a.Log.Warn("look at Docker", "err", err)
		a.goOnUnseen(ctx)
		return time.Second
	}
	snapshot := a.Apps.Snapshot()
	if !snapshot.Listed {
		return resync
	}
	want, unreadable := a.assigned.look(snapshot)
	now := time.Now()
	a.explain(ctx, a.notice(want, now))
	actions, retry := Compute(Input{Now: now, Known: snapshot.Known, Desired: want, Unreadable: unreadable,
		Leaseless:  a.leaseless(want, now),
		Containers: a.containers, Memory: a.memories(busy)})
	for _, action := range actions {
		if action.starts() && (a.blocked(action.Desired, action.Container) != "" || !a.starts.take()) {
			continue // planned again when another ends
		}
		a.Log.Info(action.Kind.String(), "app", action.app(), "container", action.containerName(), "slot", action.slot(),
			"instance", action.Instance, "reason", action.Reason)
		a.start(ctx, action)
	}
	a.publish(ctx, want, unreadable, now)
	a.prune(want)
	wait := resync
	if !retry.IsZero() {
		wait = min(wait, max(retry.Sub(now), time.Millisecond))
	}
	byInstance, _ := sortOut(a.containers)
	for id, d := range want {
		if at := a.changes(d, byInstance[id], now); !at.IsZero() {
			wait = min(wait, at.Sub(now))
		}
	}
	if next := a.sight.next(); !next.IsZero() {
		wait = min(wait, max(next.Sub(now), time.Millisecond))
	}
	return wait
}

// goOnUnseen does what can be done while Docker does not answer: of what was there the probes
// still know how it is. What is to be started has its time when Docker answers again.
func (a *Agent) goOnUnseen(ctx context.Context) {
	if snapshot := a.Apps.Snapshot(); snapshot.Listed && !a.sight.listed.get().IsZero() {
		want, unreadable := a.assigned.look(snapshot)
		a.mu.Lock()
		for id, d := range want {
			if m := a.recall(id); m.deadline(d).After(a.sight.listed.get()) {
				m.assigned = time.Now()
			}
		}
		a.mu.Unlock()
		a.publish(ctx, want, unreadable, time.Now())
	}
}

// publish keeps probes on what runs and is wanted, and has their results and all else published.
func (a *Agent) publish(ctx context.Context, want map[string]Desired, unreadable map[Place]bool, now time.Time) {
	a.probe(ctx, want)
	a.publisher.want(a.wish(want, unreadable, now))
}

// probe keeps a probe on every running instance that is wanted here.
func (a *Agent) probe(ctx context.Context, want map[string]Desired) {
	instances := map[string]probed{}
	byInstance, _ := sortOut(a.containers)
	for id, c := range byInstance {
		d, wanted := want[id]
		if !wanted || c.Status != engine.StatusRunning || !c.Addr.IsValid() {
			continue
		}
		is := probed{target: target{container: c.ID, addr: c.Addr}, checks: d.checks(c), health: c.Health}
		a.mu.Lock()
		m := a.recall(id)
		is.restarts = m.restarts
		if m.found && !d.Next {
			is.up = c.Up
		}
		a.mu.Unlock()
		instances[id] = is
	}
	a.prober.sync(ctx, instances)
}

func (a Action) app() string {
	return orElse(a.Desired.App, a.Container.App)
}

func (a Action) containerName() string {
	return orElse(a.Name, a.Container.Name)
}

func (a Action) slot() int {
	return max(a.Desired.Slot, a.Container.Slot)
}

// orElse is the first text, or the second if that is empty.
func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// backoff is how long to wait before the next try after so many failures in a row: nothing the
// first time, then from one second doubling up to a minute, each with up to a quarter of jitter.
func backoff(failures int) time.Duration { return backoffFrom(time.Second, failures) }

// backoffFrom is backoff that begins with delay, which may be more than a minute.
func backoffFrom(delay time.Duration, failures int) time.Duration {
	if failures <= 1 || delay <= 0 {
		return 0
	}
	wait := delay
	for range failures - 2 {
		if wait >= longestDelay {
			break
		}
		wait = min(2*wait, longestDelay)
	}
	return jitter(wait)
}

// prune forgets instances that are neither wanted nor there.
func (a *Agent) prune(want map[string]Desired) {
	there := map[string]bool{}
	for _, c := range a.containers {
		there[c.Instance] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.memory, func(id string, m *memory) bool {
		_, wanted := want[id]
		return !wanted && !there[id] && !m.busy
	})
}
