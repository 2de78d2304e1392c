package store

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/coreos/go-etcd/etcd"
)

// acquire waits until the lease is ours, and returns the value that its key has then. It fails
// only when ctx ends.
func (l *Lease) acquire(ctx context.Context) (value string, err error) {
	value = l.options.Value()
	retry := newBackoff()
	warned := false
	var other rival
	for ctx.Err() == nil {
		r, err := l.claim(ctx, value)
		if err == nil {
			l.renewed.Store(&r)
			return value, nil
		}
		if errors.Is(err, ErrExists) {
			if err = l.waitFree(ctx, &other); err == nil {
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

// claim tries to get the lease now. It fails with ErrExists where somebody else has it.
func (l *Lease) claim(ctx context.Context, value string) (renewal, error) {
	ttl := l.times.Load().ttl
	if !l.options.Exclusive {
		return l.put(ctx, value, ttl, nil)
	}
	r, err := l.put(ctx, value, ttl, url.Values{"prevExist": {"false"}})
	if errors.Is(err, ErrExists) {
		// By a try of ours whose answer was lost, if it has our value. How old it is then is
		// what a renewal need not know.
		r, err = l.put(ctx, value, ttl, url.Values{"prevValue": {value}})
		if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
			err = ErrExists
		}
	}
	return r, err
}

// rival is what is known of a key that somebody else holds.
type rival struct {
	modified uint64
	since    time.Time // when it was first seen to be as it is
	reported bool
}

// look takes note of the key, and reports a holder that does not renew it.
func (r *rival) look(l *Lease, n *etcd.Node) {
	if n.ModifiedIndex != r.modified {
		*r = rival{modified: n.ModifiedIndex, since: time.Now()}
	}
	if age := time.Since(r.since); age > 3*l.times.Load().ttl && !r.reported {
		r.reported = true
		l.log.Warn("lease is held by somebody who does not renew it", "value", n.Value, "age", age.Round(time.Second),
			"ttl", time.Duration(n.TTL)*time.Second)
	}
}

// waitFree returns when the key is gone, or may be.
func (l *Lease) waitFree(ctx context.Context, other *rival) error {
	a, err := l.store.read(ctx, l.options.Key, false)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case a.node.Expiration == nil && !a.node.Dir:
		return l.removeEndless(ctx, a.node)
	}
	other.look(l, a.node)
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
		if a.node.Expiration == nil {
			return nil // looked at anew, it is endless
		}
		other.look(l, a.node)
		from = max(from, a.node.ModifiedIndex)
	}
	if errors.Is(err, errWindowMissed) || errors.Is(err, errWentBack) {
		return nil
	}
	return err
}

// removeEndless deletes a key without a time to live, if it stays as it is for as long as a lease
// lives: no holder wrote it, and nobody would ever hold the lease again.
func (l *Lease) removeEndless(ctx context.Context, n *etcd.Node) error {
	patience := l.times.Load().ttl
	l.log.Warn("lease's key has no time to live, so that no holder wrote it: it is deleted unless it changes",
		"value", n.Value, "after", patience)
	if err := pause(ctx, patience); err != nil {
		return err
	}
	err := l.store.CompareAndDelete(ctx, l.options.Key, n.ModifiedIndex)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}
