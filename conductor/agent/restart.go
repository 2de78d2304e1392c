package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/manifest"
)

const (
	// settled is how long an instance must run for its failures to be forgotten, if it is healthy
	// then.
	settled = 30 * time.Second
	// longestDelay is the most that is waited before a restart, unless the manifest asks for more.
	longestDelay = time.Minute
	// withdrawPatience is how long a restart of what is unhealthy waits for its records to be gone:
	// where the store cannot be written it serves nobody any better by running on.
	withdrawPatience = 5 * time.Second
)

// policy is how often the instance is started again.
func (d Desired) policy() manifest.Restart {
	p := manifest.Restart{Attempts: manifest.Unlimited, Delay: manifest.DefaultRestartDelay}
	if d.Manifest != nil {
		p = d.Manifest.Restart
	} else if d.job() {
		p.Attempts = 0
	}
	if d.job() { // it ends some time
		p.Mode = manifest.RestartFail
	}
	return p
}

// job tells whether the instance is to run to its end.
func (d Desired) job() bool {
	return d.Run != "" || d.Manifest != nil && d.Manifest.Mode == manifest.JobMode
}

// cutShort tells whether a run of a job, which nobody saw end, ended with its host, and not by itself:
// Docker has no exit code of its own for what it does not find any more after the power failed.
func (d Desired) cutShort(c engine.Container) bool {
	return d.job() && exitCode(c) == "255" && (d.Manifest == nil || d.Manifest.OnHostLoss != manifest.RunFail)
}

// restartAt is when an instance may be started again that just failed for so many times in a row,
// and was restarted at these times, the last one last. Over says why it is not started any more.
func restartAt(p manifest.Restart, failures int, restarts []time.Time, now time.Time) (at time.Time, over string) {
	at = now.Add(backoffFrom(p.Delay.Of(), failures))
	if p.Attempts == manifest.Unlimited {
		return at, ""
	}
	for len(restarts) > 0 && !restarts[0].After(now.Add(-p.Interval.Of())) {
		restarts = restarts[1:]
	}
	switch {
	case len(restarts) < p.Attempts:
		return at, ""
	case p.Attempts == 0:
		return at, "it is not restarted"
	case p.Mode == manifest.RestartDelay:
		room := restarts[len(restarts)-p.Attempts].Add(p.Interval.Of())
		if room.After(at) {
			at = room
		}
		return at, ""
	}
	return at, fmt.Sprintf("gave up after %s in %s", counted(p.Attempts, "restart"), short(p.Interval.Of()))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// remembered are the restarts that a policy may ask for.
func remembered(p manifest.Restart, restarts []time.Time) []time.Time {
	return restarts[max(0, len(restarts)-max(p.Attempts, 0)):]
}

// errPassed says that a container which was to be restarted does not fail any more.
var errPassed = errors.New("passes its checks again")

// restart starts a container, after it has ended one that is unhealthy. It removes one that Docker
// will never start, to be made anew.
func (a *Agent) restart(ctx context.Context, action Action) error {
	if action.unhealthy() {
		if err := a.halt(ctx, action); err != nil {
			return err
		}
	}
	if action.Container.Status == engine.StatusCreated { // its run broke off
		if err := a.furnish(ctx, action.Desired, action.Container.ID); err != nil {
			return err
		}
	}
	err := a.launch(ctx, action.Desired, action.Container)
	if errors.Is(err, engine.ErrNoNetwork) {
		return errors.Join(err, a.stop(ctx, action.Container, 0))
	}
	return err
}

// unhealthy tells whether the action restarts what runs.
func (a Action) unhealthy() bool {
	return a.Kind == Restart && a.Container.Status == engine.StatusRunning
}

// halt ends a container that is unhealthy and that nobody finds any more, if Docker answers and the
// container still fails: both may have changed since it was found. Meanwhile another may start in
// its place.
func (a *Agent) halt(ctx context.Context, action Action) error {
	a.starts.leave()
	defer a.starts.enter()
	for deadline := time.Now().Add(withdrawPatience); !a.publisher.withdrawn(action.Instance) && time.Now().Before(deadline); {
		if err := sleep(ctx, withdrawPoll); err != nil {
			return err
		}
	}
	if _, err := a.Engine.List(ctx); err != nil {
		return err
	}
	if !a.prober.confirm(ctx, action.Instance) {
		return errPassed
	}
	if err := a.stops.wait(ctx); err != nil {
		return err
	}
	defer a.stops.leave()
	grace := manifest.DefaultStopGracePeriod
	if m := action.Desired.Manifest; m != nil {
		grace = m.StopGracePeriod
	}
	return a.Engine.Halt(ctx, action.Container.ID, grace.Of())
}
