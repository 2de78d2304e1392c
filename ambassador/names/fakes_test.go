package names

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

const web = "web.shop.skydns.local"

var errAway = errors.New("away")

// fakeServer answers every name alike.
type fakeServer struct {
	mu      sync.Mutex
	answer  answer
	err     error
	takes   time.Duration
	late    bool        // it answers though it is too late
	asked   []time.Time // when
	talking int         // questions at a time
	most    int
	failed  int
}

func (f *fakeServer) ask(ctx context.Context, _ string) (answer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, time.Now())
	f.talking++
	f.most = max(f.most, f.talking)
	a, err, takes := f.answer, f.err, f.takes
	if f.late {
		ctx = context.WithoutCancel(ctx)
	}
	f.mu.Unlock()
	defer f.change(func() { f.talking-- })
	select {
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-time.After(takes):
		return a, err
	}
}

func (f *fakeServer) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// count is how often it was asked since it was asked for.
func (f *fakeServer) count() (n int) {
	f.change(func() { n, f.asked = len(f.asked), nil })
	return n
}

// run has a resolver that asks the server run until the test ends. It is for bubbles of synctest.
func (f *fakeServer) run(t *testing.T, settings Settings) *Resolver {
	t.Helper()
	settings.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	settings.Failed = func() { f.change(func() { f.failed++ }) }
	r := New(settings)
	r.ask = f.ask
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	return r
}

func hosts(hosts ...byte) (endpoints []backend.Endpoint) {
	for _, host := range hosts {
		endpoints = append(endpoints, backend.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), 80), Priority: 10, Weight: 100})
	}
	return endpoints
}
