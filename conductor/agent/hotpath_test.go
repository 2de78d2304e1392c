package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// called is an engine that tells when it is asked to make a container.
type called struct {
	*fakeEngine
	at chan time.Time
}

func (e called) Create(ctx context.Context, spec engine.Spec) (string, error) {
	e.at <- time.Now()
	return e.fakeEngine.Create(ctx, spec)
}

// BenchmarkHintToEngine measures how long an agent takes from the hint that a slot was assigned to the
// request to Docker, in a cluster of 50,000 slots with 50 on this host.
func BenchmarkHintToEngine(b *testing.B) {
	fake := &fakeEngine{containers: map[string]*engine.Container{}, images: map[string]bool{"nginx": true}}
	fake.store = &fakeStore{keys: map[string]string{}}
	nodes := bigCluster(b, 50_000)
	ref := state.Ref{App: "app", Name: "c0"}
	var snapshots []store.Snapshot // each of which assigns another instance to the same slot
	for i := range 20 {            // by the time that one comes again it is gone
		slot := store.Node{Key: ref.SlotKey(11), Value: slotOn(b, "10.0.0.1", 1, fmt.Sprint("new", i))}
		snapshots = append(snapshots, store.NewSnapshot(1, append(slices.Clip(nodes), slot)...))
	}
	mirror := &changing{keys: []string{ref.SlotKey(11)}}
	mirror.set(store.NewSnapshot(1, nodes...))
	e := called{fake, make(chan time.Time, 1000)}
	a := New(Options{HostIP: "10.0.0.1", Engine: e, Apps: mirror, Store: fake.store, Connections: fake.connections,
		Log: slog.New(slog.DiscardHandler)})
	a.prober.dial = fake.dial
	fake.changed = a.EngineHint
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for range 50 {
		<-e.at
	}
	time.Sleep(2 * settling)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		mirror.set(snapshots[i%len(snapshots)])
		started := time.Now()
		a.Hint()
		took = append(took, (<-e.at).Sub(started))
		time.Sleep(2 * settling) // the time of a host at rest
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[0].Microseconds()), "min-µs")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkPass is a pass of a host with 50 instances at which nothing is to be done.
func BenchmarkPass(b *testing.B) {
	fake := &fakeEngine{containers: map[string]*engine.Container{}, images: map[string]bool{"nginx": true}}
	fake.store = &fakeStore{keys: map[string]string{}}
	mirror := &changing{}
	mirror.set(store.NewSnapshot(1, bigCluster(b, 50_000)...))
	a := New(Options{HostIP: "10.0.0.1", Engine: fake, Apps: mirror, Store: fake.store, Connections: fake.connections,
		Log: slog.New(slog.DiscardHandler)})
	a.prober.dial = fake.dial
	fake.changed = a.EngineHint
	ctx, cancel := context.WithCancel(b.Context())
	defer a.prober.wait()
	defer cancel()
	for range 20 {
		a.pass(ctx)
		a.work.Wait()
	}
	time.Sleep(2 * settling)
	a.pass(ctx)
	for b.Loop() {
		a.pass(ctx)
	}
}
