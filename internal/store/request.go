package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// request is one question to etcd, or one write.
type request struct {
	method string
	keys   string // escaped path below /v2/
	query  url.Values
	form   url.Values // nil for no body

	// once says that doing it twice differs from doing it once.
	once bool
	// try is the deadline of one try, 0 for the store's default, which grows.
	try time.Duration
}

func newRequest(method, key string, query url.Values) (request, error) {
	keys, err := keyPath(key)
	return request{method: method, keys: keys, query: query}, err
}

func (r request) path() string {
	if len(r.query) == 0 {
		return r.keys
	}
	return r.keys + "?" + r.query.Encode()
}

// tryTimeout is the deadline of a try in the given round over the endpoints.
func (s *Store) tryTimeout(r request, round int) time.Duration {
	switch {
	case r.once:
		return s.options.Timeout
	case r.try > 0:
		return r.try
	default:
		return s.options.TryTimeout << min(round, 4)
	}
}

// do asks the endpoints, the preferred one first, until one answers, ctx ends, or the store's
// Timeout has passed. A request that is to be done once is repeated only where the try before
// got no connection, and fails with ErrOutcomeUnknown where it got no answer.
func (s *Store) do(ctx context.Context, r request) (answer, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	retry := newBackoff()
	repeated := false
	for round := 0; ; round++ {
		a, err := s.round(ctx, r, s.tryTimeout(r, round), &repeated)
		var failed *noAnswer
		switch {
		case !errors.As(err, &failed):
			a.repeated = repeated
			return a, err
		case r.once && failed.sent:
			return a, fmt.Errorf("%w: %s", ErrOutcomeUnknown, err) //nolint:errorlint // not ErrUnavailable as well: it may have happened
		}
		if pause(ctx, retry.NextBackOff()) != nil {
			if caller.Err() != nil {
				err = fmt.Errorf("%w: %w", caller.Err(), err)
			}
			return a, err
		}
		s.metrics.retries.Inc()
	}
}

// round asks each endpoint once, from the preferred one on, until one answers.
func (s *Store) round(ctx context.Context, r request, timeout time.Duration, repeated *bool) (a answer, err error) {
	first := int(s.preferred.Load())
	for i := range s.endpoints {
		n := (first + i) % len(s.endpoints)
		a, err = s.tryOne(ctx, n, r, timeout)
		var failed *noAnswer
		if !errors.As(err, &failed) {
			s.preferred.Store(int32(n))
			return a, err
		}
		if ctx.Err() == nil {
			s.avoid(n)
		}
		*repeated = *repeated || failed.sent
		if ctx.Err() != nil || r.once && failed.sent {
			return a, err
		}
	}
	return a, err
}

func (s *Store) tryOne(ctx context.Context, n int, r request, timeout time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a, err := s.send(ctx, s.endpoints[n], r, 0)
	var failed *noAnswer
	if !errors.As(err, &failed) {
		// Writes and quorum reads are all that comes here.
		s.endpoints[n].proven.Store(int64(time.Since(s.born)))
	}
	return a, err
}

// avoid prefers the next endpoint to the n-th, which failed.
func (s *Store) avoid(n int) {
	s.preferred.CompareAndSwap(int32(n), int32((n+1)%len(s.endpoints)))
}

// newBackoff spreads repetitions over time: about 50 ms, doubling up to 1 s.
func newBackoff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, Multiplier: 2,
		RandomizationFactor: 0.5, MaxInterval: time.Second,
	}
}

// pause waits, and returns ctx's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// jitter is a random duration between d and twice d.
func jitter(d time.Duration) time.Duration { return d + rand.N(d) }
