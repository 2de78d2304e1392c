package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
)

const (
	// withdrawPoll is how often a removal looks whether its records are gone.
	withdrawPoll = 50 * time.Millisecond
	// finish is how long an action in hand may go on after the agent was told to end.
	finish = 5 * time.Second
)

// start carries out an action in a goroutine of its own; until it is done no other action is
// planned for the instance. One that starts a container has a place for it, and leaves it.
func (a *Agent) start(ctx context.Context, action Action) {
	a.mu.Lock()
	m := a.recall(action.Instance)
	m.busy = true
	m.withdrawing = action.withdraws()
	a.mu.Unlock()
	a.work.Go(func() {
		ctx, cancel := outlive(ctx)
		defer cancel()
		err := a.do(ctx, action)
		if action.starts() {
			a.starts.leave()
		}
		// Before it counts as done, or a pass could plan by the list of before.
		if a.sight.acted.set(time.Now()); err != nil {
			a.sight.changed.set(time.Now()) // who knows what became of it
		}
		a.finish(action, err)
		a.Hint()
	})
}

// outlive makes a context that ends a while after ctx, so that an action in hand can finish.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(finish, cancel) })
	return longer, func() { stop(); cancel() }
}

func (a *Agent) do(ctx context.Context, action Action) error {
	switch action.Kind {
	case Run:
		return a.run(ctx, action)
	case Restart:
		return a.restart(ctx, action)
	case Rename:
		return a.Engine.Rename(ctx, action.Container.ID, action.Name)
	case Remove:
		return a.remove(ctx, action)
	}
	return fmt.Errorf("unknown action %d", action.Kind)
}

// finish takes in how an action ended.
func (a *Agent) finish(action Action, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.recall(action.Instance)
	m.busy, m.pulling, m.withdrawing = false, false, false
	if err != nil {
		a.metrics.actions.WithLabelValues(action.Kind.String(), "failed").Inc()
		m.failed(action, err, time.Now())
		a.Log.Warn(action.Kind.String(), "app", action.app(), "container", action.containerName(), "instance", action.Instance,
			"err", err, "failures", max(m.failures, m.mishap.failures))
		return
	}
	a.metrics.actions.WithLabelValues(action.Kind.String(), "done").Inc()
	m.succeeded(action, time.Now())
}

func (a Action) starts() bool { return a.Kind == Run || a.Kind == Restart }

// withdraws tells whether the action ends what may be announced, and not just a container that
// does not serve.
func (a Action) withdraws() bool {
	return a.Kind == Remove && (a.Reason == ReasonNotAssigned || a.Reason == ReasonDetached) || a.unhealthy()
}

// remove withdraws the instance's records, drains it, and stops it. While the store cannot be
// written it waits: the containers of a host that is cut off run on.
func (a *Agent) remove(ctx context.Context, action Action) error {
	if !action.withdraws() {
		return a.stop(ctx, action.Container, 0)
	}
	end := endingOf(action.Container, a.Apps.Snapshot())
	for !a.publisher.withdrawn(action.Instance) {
		if err := sleep(ctx, withdrawPoll); err != nil {
			return err
		}
	}
	if err := a.drain(ctx, action.Container, end); err != nil {
		return err
	}
	return a.stop(ctx, action.Container, end.grace)
}

func (a *Agent) stop(ctx context.Context, c engine.Container, grace time.Duration) error {
	if err := a.stops.wait(ctx); err != nil {
		return err
	}
	defer a.stops.leave()
	return a.Engine.Stop(ctx, c.ID, grace)
}

// sleep waits for d, or returns the error of a ctx that ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
