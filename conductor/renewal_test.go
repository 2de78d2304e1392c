package conductor

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// TestRenewal tells mere renewals from what makes a difference.
func TestRenewal(t *testing.T) {
	known := []store.Node{leaseOf(hostA, 5, ttl), infoOf(hostA)}
	says := func(value string) store.Node { n := leaseOf(hostA, 7, ttl); n.Value = value; return n }
	for name, test := range map[string]struct {
		node store.Node
		want bool
	}{
		"a renewal":                  {leaseOf(hostA, 7, ttl), true},
		"the host says another word": {says(`{"ip":"10.0.0.1","condition":"disk full"}`), false},
		"a host joins":               {leaseOf(hostB, 7, ttl), false},
		"a lease without an end":     {leaseOf(hostA, 7, 0), false},
		"what stays of a host":       {infoOf(hostA), false},
		"an instance":                {store.Node{Key: state.InstanceKey(hostA, "iaaaaaaaaaaaa"), Value: `{}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			tracker := newHostTracker(ttl)
			tracker.follow(store.NewSnapshot(9, known...), nil, true)
			tracker.observe(second(-1000), second(0))
			if got := tracker.renewal(test.node, second(5)); got != test.want {
				t.Fatalf("is a renewal: %v", got)
			}
			if !test.want {
				return
			}
			tracker.follow(store.NewSnapshot(10, infoOf(hostA)), []string{test.node.Key}, false)
			if _, wake := tracker.observe(second(-1000), second(9)); !wake.Equal(second(13)) {
				t.Errorf("it counts as lost at %v, not the lease's time after the renewal", wake)
			}
		})
	}
}

// renewing is the term of a scheduler that knows so many hosts, and has planned for them. renew
// renews the lease of one, and returns when the term can see that.
func renewing(t testing.TB, hosts int) (term *term, renew func()) {
	s := openStore(t, etcdtest.Start(t, 1).Endpoints()...)
	set := func(key, value string, ttl time.Duration) uint64 {
		n, err := s.Set(t.Context(), key, value, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return n.Modified
	}
	set(state.ClusterKey, "test", 0)
	lease := func(i int) uint64 {
		return set(state.HostLeaseKey(fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)), "{}", time.Hour)
	}
	for i := range hosts {
		lease(i)
	}
	term = newTestTerm(s)
	for _, source := range term.sources {
		runMirror(t, source.mirror)
	}
	for term.next.IsZero() {
		term.pass(t.Context())
		time.Sleep(time.Millisecond)
	}
	return term, func() {
		for index := lease(0); term.hosts.mirror.Snapshot().Index < index; {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestRenewalsPlanNothing has a host renew its lease: nothing is decided for that.
func TestRenewalsPlanNothing(t *testing.T) {
	term, renew := renewing(t, 3)
	next := term.next
	for range 3 {
		renew()
		if term.pass(t.Context()); !term.next.Equal(next) && time.Now().Before(next) {
			t.Error("it decided again")
		}
	}
}

// BenchmarkRenewal is the pass after a host renewed its lease.
func BenchmarkRenewal(b *testing.B) {
	for _, hosts := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("%d hosts", hosts), func(b *testing.B) {
			term, renew := renewing(b, hosts)
			for !term.swept { // the last that it has to do
				term.pass(b.Context())
				time.Sleep(time.Millisecond)
			}
			for b.Loop() {
				b.StopTimer()
				renew()
				b.StartTimer()
				term.pass(b.Context())
			}
		})
	}
}

// runMirror has a mirror follow the store until the test ends.
func runMirror(t testing.TB, m *store.Mirror) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
