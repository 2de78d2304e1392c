package store

import (
	"context"
	"errors"
	"net/url"
	"time"
)

// acquire waits until the lease is ours, and returns the value that its key has then. It fails
// only when ctx ends.
func (l *Lease) acquire(ctx context.Context) (value string, err error) {
	value = l.options.Value()
	retry := newBackoff()
	warned := false
	for ctx.Err() == nil {
		started, err := l.claim(ctx, value)
		if err == nil {
			l.renewed.Store(&started)
			return value, nil
		}
		if errors.Is(err, ErrExists) {
			if err = l.waitFree(ctx); err == nil {
				retry.Reset()
				continue
			}
		}
		if !warned && ctx.Err() == nil {
			l.log.Warn("lease can't be acquired", "err", err)
			warned = true
		}
		if pause(ctx, retry.NextBackOff()) != nil {
			break
		}
		if !l.options.Exclusive {
			value = l.options.Value()
		}
	}
	return "", ctx.Err()
}

// claim tries to get the lease now, and returns when the try that succeeded began. It fails with
// ErrExists where somebody else has it.
func (l *Lease) claim(ctx context.Context, value string) (time.Time, error) {
	if !l.options.Exclusive {
		return l.put(ctx, value, nil)
	}
	started, err := l.put(ctx, value, url.Values{"prevExist": {"false"}})
	if errors.Is(err, ErrExists) {
		// By a try of ours whose answer was lost, if it has our value. How old it is then is
		// what a renewal need not know.
		started, err = l.put(ctx, value, url.Values{"prevValue": {value}})
		if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
			err = ErrExists
		}
	}
	return started, err
}

// waitFree returns when the key is gone, or may be.
func (l *Lease) waitFree(ctx context.Context) error {
	a, err := l.store.read(ctx, l.options.Key, false)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	for from := a.index + 1; err == nil; from++ {
		if a, err = l.store.poll(ctx, l.options.Key, false, from); err != nil {
			break
		}
		if a.node == nil {
			return nil // it was renewed by nobody for longer than it should live
		}
		switch a.action {
		case "delete", "expire", "compareAndDelete":
			return nil
		}
		from = max(from, a.node.ModifiedIndex)
	}
	if errors.Is(err, errWindowMissed) || errors.Is(err, errWentBack) {
		return nil
	}
	return err
}
