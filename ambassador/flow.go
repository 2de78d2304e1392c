package ambassador

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/backend"
	"github.com/dokkaa/dokkaa/ambassador/identity"
	"github.com/dokkaa/dokkaa/ambassador/ledger"
	"github.com/dokkaa/dokkaa/ambassador/names"
	"github.com/dokkaa/dokkaa/ambassador/udp"
)

// errReplaced ends a flow whose address and port are another container's by now.
var errReplaced = errors.New("the address is another container's")

// flow is the datagrams from one address and port of a container to one of its links: a udp.Call.
type flow struct {
	a      *Ambassador
	source netip.AddrPort
	port   int

	who     atomic.Pointer[identity.Caller] // once known
	service string                          // DNS name that it may reach, likewise
	name    string                          // of its endpoints
	loyal   string                          // whom to give the same endpoint each time, "" if any will do

	pool     *backend.Pool // that has the endpoint
	choice   backend.Choice
	endpoint netip.AddrPort  // of the choice; zero if there is none
	account  *ledger.Backend // of the endpoint
	since    time.Time       // the endpoint was chosen
	heard    bool            // of the endpoint

	began    time.Time
	up, down int64
}

// flow takes on a new one. There is always room: see udp.Settings.
func (a *Ambassador) flow(source netip.AddrPort, port int) udp.Call {
	a.metrics.flows.Inc()
	a.metrics.openFlows.Inc()
	a.connections.Add(1)
	return &flow{a: a, source: source, port: port, began: time.Now()}
}

// Trust says whether the container at the address still is the flow's.
func (f *flow) Trust() udp.Trust {
	who := f.who.Load()
	if who == nil {
		return udp.Doubted
	}
	still, certain := f.a.callers.Still(f.addr(), who.ID)
	switch {
	case !still:
		return udp.Gone
	case !certain:
		return udp.Doubted
	}
	return udp.Trusted
}

// Current says whether the endpoint is in an answer that is fresh.
func (f *flow) Current() bool {
	pool, fresh := f.a.names.Fresh(f.name)
	return fresh && f.stays(pool)
}

// stays says whether the pool has the endpoint.
func (f *flow) stays(pool *backend.Pool) bool {
	if pool != f.pool {
		if !pool.Contains(f.endpoint) {
			return false
		}
		f.pool = pool
	}
	return f.endpoint.IsValid()
}

// Choose returns another endpoint.
func (f *flow) Choose() (netip.AddrPort, bool) {
	pool, fresh := f.a.names.Fresh(f.name)
	return f.endpoint, fresh && f.choose(pool)
}

// choose takes an endpoint of the pool, if it has one.
func (f *flow) choose(pool *backend.Pool) bool {
	f.release()
	now := time.Now()
	choice, ok := pool.Choose(f.loyal, nil, now)
	if !ok {
		return false
	}
	f.pool, f.choice, f.endpoint, f.since, f.heard = pool, choice, choice.Endpoint().Addr, now, false
	f.account = f.a.ledger.Service(f.service).Backend(f.endpoint)
	f.account.Began()
	return true
}

// release gives up the endpoint, if there is one.
func (f *flow) release() {
	if f.endpoint.IsValid() {
		f.choice.Release()
		f.account.Closed(time.Since(f.since))
		f.endpoint = netip.AddrPort{}
	}
}

// Find identifies the caller and waits for an endpoint, for as long as a connection would.
func (f *flow) Find(ctx context.Context) (netip.AddrPort, error) {
	err := f.identify(ctx)
	if err == nil {
		err = f.locate(ctx)
	}
	if err != nil && !errors.Is(err, errReplaced) && ctx.Err() == nil {
		reason := reasonOf(err)
		if f.service != "" {
			f.a.ledger.Service(f.service).Refused(reason)
		}
		f.a.refuse(f.addr(), f.port, f.container(), reason, err)
	}
	return f.endpoint, err
}

// identify finds out who sends, and what it may reach.
func (f *flow) identify(ctx context.Context) error {
	who, err := f.a.callers.Find(ctx, f.addr())
	if err != nil {
		return err
	}
	if before := f.who.Load(); before != nil && before.ID != who.ID {
		return errReplaced
	}
	if f.service = who.Links[f.port]; f.service == "" {
		return errNoLink
	}
	f.name = names.Datagrams(f.service)
	if who.Sticky[f.port] {
		f.loyal = who.ID
	}
	f.who.Store(who)
	return nil
}

// locate finds an endpoint unless the present one is still one of the service's.
func (f *flow) locate(ctx context.Context) error {
	deadline := time.Now().Add(endpointPatience)
	lookup := f.a.names.Lookup
	for first := true; ; first = false {
		pool, err := lookup(ctx, f.name)
		if err == nil && (f.stays(pool) || f.choose(pool)) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%s has no endpoint that takes datagrams", f.service)
		}
		if time.Now().Add(roundPause).After(deadline) {
			return err
		}
		if first {
			free, ok := f.a.waiting.take(f.addr())
			if !ok {
				return fmt.Errorf("%w: %w", errCrowd, err)
			}
			defer free()
			defer f.a.ledger.Service(f.service).Waits()()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(roundPause):
		}
		lookup = f.a.names.Refresh
	}
}

// Failed gives up the endpoint, which is set aside unless it was this host's fault.
func (f *flow) Failed(err error) {
	if !f.endpoint.IsValid() {
		return
	}
	if !isOurs(err) {
		f.a.metrics.dialErrors.Inc()
		f.account.Failed()
		f.choice.Failed(time.Now())
	}
	f.release()
}

// Carried counts bytes.
func (f *flow) Carried(up, down int64) {
	f.a.metrics.up.Add(float64(up))
	f.a.metrics.down.Add(float64(down))
	f.up += up
	f.down += down
	if f.account != nil {
		f.account.Carried(up, down)
	}
	if down > 0 && !f.heard && f.endpoint.IsValid() {
		f.heard = true
		f.choice.Accepted()
	}
}

// End gives back what the flow had.
func (f *flow) End(err error) {
	endpoint := f.endpoint
	f.release()
	if level, ok := f.a.accessLevel(); ok && f.account != nil {
		f.a.log.Log(context.Background(), level, "flow ended", "source", f.source, "container", f.container(), "service", f.service,
			"endpoint", endpoint, "up", f.up, "down", f.down, "lasted", time.Since(f.began), "ended", err)
	}
	f.a.metrics.openFlows.Dec()
	f.a.connections.Done()
}

// addr is the caller's address.
func (f *flow) addr() netip.Addr { return f.source.Addr().WithZone("") }

// container is the caller's name, "" if it is not known.
func (f *flow) container() string {
	if who := f.who.Load(); who != nil {
		return who.Name
	}
	return ""
}
