package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// LeaseOptions say what a lease is. All but Exclusive are required.
type LeaseOptions struct {
	Key string
	// Value is what the key holds. It is asked at each renewal; of an exclusive lease only at
	// each acquisition, where it must be one that no holder ever had before.
	Value func() string
	TTL   time.Duration // how long the key outlives its last renewal, in whole seconds
	Renew time.Duration // how long after the start of a renewal the next one starts
	// Exclusive says that one at a time holds the lease. Otherwise the key belongs to its
	// holder alone, and acquiring it is writing it.
	Exclusive bool
}

// Lease is a key that says that its holder lives.
//
// The holder stops being the holder by its own clock, a tenth of the TTL before etcd can give
// the lease to another; that tenth is what it has to stop acting in. The clocks of the members
// must run alike, as etcd reckons the end of a key by them.
type Lease struct {
	store   *Store
	options LeaseOptions // but for its times
	log     *slog.Logger
	times   atomic.Pointer[leaseTimes]
	renewed atomic.Pointer[renewal]
	touched chan struct{}
}

// leaseTimes are the TTL and Renew of LeaseOptions, as they are to be from the next renewal on.
type leaseTimes struct{ ttl, renew time.Duration }

// renewal is a write of the key that succeeded.
type renewal struct {
	began time.Time
	ttl   time.Duration // that it gave the key
}

// NewLease returns a lease that nobody holds until it runs.
func (s *Store) NewLease(o LeaseOptions) *Lease {
	l := &Lease{store: s, options: o, log: s.log.With("lease", o.Key), touched: make(chan struct{}, 1)}
	l.times.Store(&leaseTimes{o.TTL, o.Renew})
	return l
}

// SetTimes changes the TTL and Renew of LeaseOptions. A held lease is renewed at once, and is one of
// the former times until that succeeds. It never blocks.
func (l *Lease) SetTimes(ttl, renew time.Duration) {
	l.times.Store(&leaseTimes{ttl, renew})
	l.Touch()
}

// Touch has a held lease renewed at once, because its Value changed. It never blocks.
func (l *Lease) Touch() {
	select {
	case l.touched <- struct{}{}:
	default: // is due already
	}
}

// Renewed is when the last successful renewal began, or one that makes the lease end sooner than
// that did; zero before the first acquisition.
func (l *Lease) Renewed() time.Time {
	if r := l.renewed.Load(); r != nil {
		return r.began
	}
	return time.Time{}
}

// Life is Renewed, and the time to live that the renewal gave the key, or the first one is to give it.
func (l *Lease) Life() (renewed time.Time, ttl time.Duration) {
	if r := l.renewed.Load(); r != nil {
		return r.began, r.ttl
	}
	return time.Time{}, l.times.Load().ttl
}

// end is when the holder stops being the holder.
func (r renewal) end() time.Time { return r.began.Add(r.ttl - r.ttl/10) }

// Run acquires the lease, calls held with a context that ends before the lease does (its cause
// is ErrLeaseLost then), waits for held to return, and begins again. When ctx ends it waits for
// held and returns nil. If held returns while it has the lease, Run returns what it returned.
//
// At the end an exclusive lease is given back. Another one is left to live: who starts again
// before its end goes on with it.
func (l *Lease) Run(ctx context.Context, held func(context.Context) error) error {
	for {
		value, err := l.acquire(ctx)
		if err != nil {
			return nil //nolint:nilerr // only ctx's end ends acquire
		}
		l.log.Info("lease acquired")
		returned, err := l.hold(ctx, value, held)
		if l.options.Exclusive {
			l.release(ctx, value)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case returned:
			return err
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			l.log.Warn("work under the lease ended", "err", err)
		}
	}
}

// hold calls held, and renews the lease until that returns (returned is true), ctx ends or the
// lease is lost. It returns after held did, with its error.
func (l *Lease) hold(ctx context.Context, value string, held func(context.Context) error) (returned bool, err error) {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- held(working) }() // every way out of here waits for it
	for {
		timer := time.NewTimer(time.Until(l.Renewed().Add(l.times.Load().renew)))
		select {
		case err := <-done:
			timer.Stop()
			return true, err
		case <-ctx.Done():
			timer.Stop()
			return false, <-done
		case <-l.touched:
			timer.Stop()
		case <-timer.C:
		}
		if value, err = l.renew(ctx, value); err != nil && ctx.Err() == nil {
			l.log.Warn("lease lost", "err", err, "renewed", time.Since(l.Renewed()).Round(time.Millisecond))
			stop(ErrLeaseLost)
			return false, <-done
		}
	}
}

// renew writes the key again, until that succeeds or the lease is lost. It returns the value
// that the key has now.
func (l *Lease) renew(ctx context.Context, value string) (string, error) {
	ttl := l.times.Load().ttl
	// A shorter life than before counts from now on: etcd may have got it though the answer is lost.
	if shorter := (renewal{began: time.Now(), ttl: ttl}); shorter.end().Before(l.renewed.Load().end()) {
		l.renewed.Store(&shorter)
	}
	ctx, cancel := context.WithDeadline(ctx, l.renewed.Load().end())
	defer cancel()
	var query url.Values
	if l.options.Exclusive {
		// No other holder ever had this value, so that it can be repeated.
		query = url.Values{"prevValue": {value}}
	} else {
		value = l.options.Value()
	}
	for {
		r, err := l.put(ctx, value, ttl, query)
		switch {
		case err == nil:
			l.renewed.Store(&r)
			return value, nil
		case ctx.Err() != nil, l.options.Exclusive && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict)):
			return value, err
		}
		// The store had less time than the lease has, or does not allow it just now.
		if pause(ctx, jitter(l.times.Load().renew/4)) != nil {
			return value, err
		}
	}
}

// put writes the key on a condition.
func (l *Lease) put(ctx context.Context, value string, ttl time.Duration, query url.Values) (renewal, error) {
	r, err := newRequest(http.MethodPut, l.options.Key, query)
	if err != nil {
		return renewal{}, err
	}
	r.form, r.try = form(value, ttl), l.store.options.LeaseTimeout
	a, err := l.store.do(ctx, r)
	return renewal{began: a.started, ttl: ttl}, err
}

// release deletes the key if it is ours, within a short time. Failing that it ends by itself.
func (l *Lease) release(ctx context.Context, value string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*l.store.options.LeaseTimeout)
	defer cancel()
	r, err := newRequest(http.MethodDelete, l.options.Key, url.Values{"prevValue": {value}})
	if err == nil {
		r.try = l.store.options.LeaseTimeout
		_, err = l.store.do(ctx, r)
	}
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
		l.log.Warn("lease is left to its end", "err", fmt.Errorf("release lease: %w", err))
	}
}
