package ambassador

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/backend"
	"github.com/dokkaa/dokkaa/ambassador/relay"
)

// Times of a connection before its first byte.
const (
	maxDials = 4 // in one round
	// A service whose instance is just replaced has an endpoint again in a moment: a caller
	// waits so long for it before it is refused.
	endpointPatience = 3 * time.Second
	roundPause       = 200 * time.Millisecond
	// A caller that connects in a loop to a service that is gone fills no more than this.
	maxWaiting = 100
)

// errCrowd is the refusal to wait for an endpoint.
var errCrowd = fmt.Errorf("%d connections of this container wait for an endpoint", maxWaiting)

// round is the dials after one look-up.
type round struct {
	pool  *backend.Pool // nil before the look-up
	tried []netip.AddrPort
	errs  []error // why they could not be dialled
}

// connect dials an endpoint of the service. Rounds follow each other with a new look-up until one
// succeeds or the patience is over. It errs with errCrowd if too many connections of the source
// are between rounds.
func (c *connection) connect(ctx context.Context) (*net.TCPConn, error) {
	deadline := time.Now().Add(endpointPatience)
	lookup := c.a.names.Lookup
	for first := true; ; first = false {
		conn, err := c.dialRound(ctx, lookup)
		if err == nil {
			return conn, nil
		}
		if time.Now().Add(roundPause).After(deadline) {
			return nil, err
		}
		if first {
			free, ok := c.a.waiting.take(c.source)
			if !ok {
				return nil, fmt.Errorf("%w: %w", errCrowd, err)
			}
			defer free()
			defer c.a.ledger.Service(c.service).Waits()()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(roundPause):
		}
		lookup = c.a.names.Refresh // what is remembered was of no use
	}
}

// dialRound dials until one accepts: what is left of a round that has begun, or else what the look-up finds.
func (c *connection) dialRound(ctx context.Context, lookup func(context.Context, string) (*backend.Pool, error)) (*net.TCPConn, error) {
	if len(c.round.tried) == 0 {
		pool, err := lookup(ctx, c.service)
		if err != nil {
			return nil, err
		}
		if pool.Len() == 0 {
			return nil, fmt.Errorf("%s has no endpoint", c.service)
		}
		c.round.pool = pool
	}
	for {
		addr, ok := c.next()
		if !ok {
			err := errors.Join(c.round.errs...)
			c.round = round{}
			return nil, err
		}
		conn, err := c.dial(ctx, addr)
		if err == nil {
			c.Opened()
			return conn, nil
		}
		c.missed(err)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// next is the endpoint to dial now, if the round has one more. The connection counts for it from
// here, so that connections made at the same time see each other.
func (c *connection) next() (netip.AddrPort, bool) {
	if len(c.round.tried) == maxDials {
		return netip.AddrPort{}, false
	}
	now := time.Now()
	choice, ok := c.round.pool.Choose(c.loyal, c.round.tried, now)
	if !ok {
		return netip.AddrPort{}, false
	}
	c.choice, c.endpoint, c.began = choice, choice.Endpoint().Addr, now
	c.account = c.a.ledger.Service(c.service).Backend(c.endpoint)
	return c.endpoint, true
}

// missed notes that the endpoint could not be dialled.
func (c *connection) missed(err error) {
	defer c.choice.Release()
	c.round.tried = append(c.round.tried, c.endpoint)
	c.round.errs = append(c.round.errs, err)
	if isOurs(err) {
		return
	}
	c.a.metrics.dialErrors.Inc()
	c.account.Failed()
	c.choice.Failed(time.Now())
}

// isOurs says whether a dial failed by no fault of the endpoint, but because it was given up, or this host
// had no descriptor, port, memory, or room in its connection tracking left.
func isOurs(err error) bool {
	return slices.ContainsFunc([]error{context.Canceled, syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL,
		syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM}, func(target error) bool { return errors.Is(err, target) })
}

func (c *connection) dial(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, relay.DialTimeout)
	defer cancel()
	conn, err := c.a.dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err // names the address itself
	}
	return conn.(*net.TCPConn), nil
}
