package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// BenchmarkAssign has a scheduler assign fifty instances to each host, through a real etcd:
// go test ./conductor -run xxx -bench Assign -benchtime 1x
func BenchmarkAssign(b *testing.B) {
	for _, hosts := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("%d hosts", hosts), func(b *testing.B) {
			if testing.Short() && hosts > 10 {
				b.Skip("takes minutes")
			}
			for b.Loop() {
				b.StopTimer()
				a := newAssigning(b, hosts)
				b.StartTimer()
				a.run()
			}
		})
	}
}

// assigning is a cluster of hosts that say what an image is, and do nothing else.
type assigning struct {
	b         *testing.B
	store     *store.Store
	apps      *store.Mirror
	instances int
	said      map[state.Ref]bool // of whose image that was said
}

func newAssigning(b *testing.B, hosts int) *assigning {
	a := &assigning{b: b, store: openStore(b, etcdtest.Start(b, 1).Endpoints()...), instances: 50 * hosts, said: map[state.Ref]bool{}}
	a.apps = a.store.NewMirror(state.AppsDir)
	a.set(state.ClusterKey, "bench", 0)
	for i := range hosts {
		a.set(state.HostLeaseKey(fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)), "{}", time.Hour)
		a.set(state.Ref{App: "app", Name: fmt.Sprintf("c%d", i)}.ManifestKey(), `{"image": "nginx", "scale": 50}`, 0)
	}
	return a
}

func (a *assigning) set(key, value string, ttl time.Duration) {
	if _, err := a.store.Set(a.b.Context(), key, value, ttl); err != nil {
		a.b.Fatal(err)
	}
}

// run schedules until every instance has its host.
func (a *assigning) run() {
	s := newTestScheduler(a.store, a.apps)
	ctx, cancel := context.WithCancel(a.b.Context())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.apps.Run(ctx) })
	group.Go(func() error { s.passOn(ctx, a.apps.Hint()); return nil })
	group.Go(func() error { return s.run(ctx) })
	for a.assigned() < a.instances {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := group.Wait(); err != nil {
		a.b.Fatal(err)
	}
}

// assigned counts the slots that have a host. The first host of each container says what its image is.
func (a *assigning) assigned() (n int) {
	for node := range a.apps.Snapshot().All(state.AppsDir) {
		key, ok := state.ParseAppKey(node.Key)
		if !ok || key.Kind != "hosts" {
			continue
		}
		if n++; a.said[key.Ref] {
			continue
		}
		a.said[key.Ref] = true
		var slot state.Slot
		if err := json.Unmarshal([]byte(node.Value), &slot); err != nil {
			a.b.Fatal(err)
		}
		value, err := json.Marshal(state.Observed{Ref: key.Ref, Slot: key.Item, Revision: 1, Phase: state.PhaseHealthy, Image: "sha256:1"})
		if err != nil {
			a.b.Fatal(err)
		}
		a.set(state.InstanceKey(slot.Current.Host, slot.Current.Instance), string(value), 0)
	}
	return n
}
