//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// contender is one way to do what is compared.
type contender struct {
	name    string
	measure func(ctx context.Context) (time.Duration, error)
}

// pause is between two measurements, so that none pays for what the one before left to be done.
const pause = 500 * time.Millisecond

// interleave measures the contenders in turn, each time another first.
func interleave(ctx context.Context, rounds int, contenders ...contender) (all []samples, err error) {
	all = make([]samples, len(contenders))
	for round := range rounds {
		for turn := range contenders {
			i := (round + turn) % len(contenders)
			took, err := contenders[i].measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", contenders[i].name, err)
			}
			all[i] = append(all[i], took)
			if err := wait(ctx, pause); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// settling is how long containers run before anything happens to them.
const settling = 2 * time.Second

// starting is how long it takes from the request for n web servers until the last one serves.
func starting(r runner, n int) func(ctx context.Context) (time.Duration, error) {
	return func(ctx context.Context) (took time.Duration, err error) {
		took, _, err = timed(ctx, r, n, func() error { return r.run(ctx, n) })
		return took, errors.Join(err, r.clear(ctx))
	}
}

// timed is how long it takes from a request until n containers that started after it serve.
func timed(ctx context.Context, r runner, n int, request func() error) (time.Duration, []sighting, error) {
	o := observe(ctx, r.label(), r.engines()...)
	defer o.close()
	start := time.Now()
	if err := request(); err != nil {
		return 0, nil, err
	}
	seen, err := o.serving(ctx, n)
	if err != nil {
		return 0, nil, err
	}
	return seen[len(seen)-1].serving.Sub(start), seen, nil
}

// settled measures what is done with n web servers that have run for a while.
func settled(r runner, n int, do func(ctx context.Context) (time.Duration, error)) func(ctx context.Context) (time.Duration, error) {
	return func(ctx context.Context) (time.Duration, error) {
		return settle(ctx, r, n, settling, func() (time.Duration, error) { return do(ctx) })
	}
}

// settle runs n web servers for a while before something is done, and clears them then.
func settle[T any](ctx context.Context, r runner, n int, while time.Duration, do func() (T, error)) (result T, err error) {
	if _, _, err := timed(ctx, r, n, func() error { return r.run(ctx, n) }); err != nil {
		return result, err
	}
	if err := wait(ctx, while); err != nil {
		return result, err
	}
	result, err = do()
	return result, errors.Join(err, r.clear(ctx))
}

// restarting is how long it takes from the death of a web server's process until it serves again.
func restarting(r runner) func(ctx context.Context) (time.Duration, error) {
	return settled(r, 1, func(ctx context.Context) (took time.Duration, err error) {
		e := r.engines()[0]
		running, err := e.running(ctx, r.label())
		if err != nil || len(running) != 1 {
			return 0, fmt.Errorf("%d containers, not 1: %w", len(running), err)
		}
		took, _, err = timed(ctx, r, 1, func() error { return e.kill(ctx, running[0].ID) })
		return took, err
	})
}

// scaling is how long it takes until 10 web servers serve where there are 5.
func scaling(o orchestrator) func(ctx context.Context) (time.Duration, error) {
	return settled(o, 5, func(ctx context.Context) (took time.Duration, err error) {
		took, _, err = timed(ctx, o, 5, func() error { return o.scale(ctx, 10) })
		return took, err
	})
}

// updating is how long it takes until 5 others serve in place of 5 web servers, and done finds nothing
// more to wait for. The load, if any, goes on until the old ones are gone.
func updating(o orchestrator, l *load, done func(ctx context.Context, seen []sighting) error) func(ctx context.Context) (time.Duration, error) {
	return settled(o, 5, func(ctx context.Context) (took time.Duration, err error) {
		defer l.begin(ctx)()
		start := time.Now()
		took, seen, err := timed(ctx, o, 5, func() error { return o.update(ctx) })
		if err != nil {
			return 0, err
		}
		if done != nil {
			if err := done(ctx, seen); err != nil {
				return 0, err
			}
			took = time.Since(start)
		}
		return took, until(ctx, polling, func() error {
			running, err := o.engines()[0].running(ctx, o.label())
			if err == nil && len(running) != 5 {
				err = fmt.Errorf("%d containers run", len(running))
			}
			return err
		})
	})
}
