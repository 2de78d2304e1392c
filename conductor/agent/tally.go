package agent

import (
	"errors"
	"time"

	"github.com/dokkaa/dokkaa/manifest"
)

// Health is what checks say of a running instance.
type Health int

// Unprobed is neither healthy nor unhealthy: nothing is announced or withdrawn for it.
const (
	Unprobed Health = iota
	Healthy
	Unhealthy
)

// Timing of checks, beside what the manifest says.
const (
	recheck     = time.Second // after a failure; while it stays unhealthy ever later, up to the interval
	firstTries  = 20 * time.Millisecond
	firstExecs  = 250 * time.Millisecond // likewise of commands, which cost more
	neverSooner = 10 * time.Millisecond
)

// errUntried says that a check could not be made: it neither passed nor failed.
var errUntried = errors.New("not known")

// failure is why a check did not pass. What varies from one try to the next is in the detail: a
// reason is written anew only when another kind of failure is found.
type failure struct{ kind, detail string }

func (f *failure) Error() string { return joinReasons(f.kind, f.detail) }

// tally counts the results of one check.
type tally struct {
	health    Health
	passed    bool      // it was healthy once
	since     time.Time // of the first try
	failures  int       // in a row, of those that count
	successes int       // in a row
	unknown   bool      // the last try could not be made
	kind      string    // of the last failure
	reason    string    // why it is not healthy
}

// take takes in a result, and returns when to try next.
func (t *tally) take(c manifest.Check, err error, now time.Time) (wait time.Duration) {
	t.unknown = errors.Is(err, errUntried)
	switch {
	case t.unknown:
		if t.reason == "" && t.health == Unprobed {
			t.reason = err.Error()
		}
	case err == nil:
		t.pass(c)
	default:
		t.fail(c, err, now)
	}
	return max(t.wait(c, now), neverSooner)
}

func (t *tally) pass(c manifest.Check) {
	t.failures = 0
	if t.successes++; t.successes >= c.SuccessThreshold {
		t.health, t.passed, t.kind, t.reason = Healthy, true, "", ""
	}
}

func (t *tally) fail(c manifest.Check, err error, now time.Time) {
	t.successes = 0
	if t.health != Unprobed || now.Sub(t.since) >= c.StartPeriod.Of() {
		t.failures++
	}
	if t.failures >= c.FailureThreshold {
		t.health = Unhealthy
	}
	kind, reason := err.Error(), err.Error()
	var f *failure
	if errors.As(err, &f) {
		kind = f.kind
	}
	if kind != t.kind || t.reason == "" {
		t.kind, t.reason = kind, reason
	}
}

// wait is the time until the next try. Before it was healthy it is in proportion to how long that
// takes already, up to the start interval: what starts quickly is found quickly.
func (t *tally) wait(c manifest.Check, now time.Time) time.Duration {
	interval := c.Interval.Of()
	switch {
	case t.health == Unprobed:
		first := firstTries
		if c.Type == manifest.CheckExec {
			first = firstExecs
		}
		return min(max(now.Sub(t.since)/4, first), c.StartInterval.Of())
	case t.health == Unhealthy && t.successes == 0:
		beyond := min(max(t.failures-c.FailureThreshold, 0), 10)
		return min(recheck<<beyond, interval)
	case t.failures > 0 || t.health == Unhealthy:
		return min(recheck, interval)
	}
	return interval
}

// Verdict is what all checks of an instance say together.
type Verdict struct {
	Health Health
	Reason string    // of what is not Healthy
	Since  time.Time // of Health
	// Restart says that a check which failed asks for a restart, and none is unknown.
	Restart bool
}

// result is how one check stands.
type result struct {
	check check
	tally
}

// restart tells whether the check, which has failed and has not passed since, asks for a restart.
func (r result) restart(now time.Time) bool {
	return r.check.OnFailure == manifest.OnFailureRestart && r.successes == 0 && (r.passed || now.Sub(r.since) >= r.check.patience)
}

// combine makes a verdict of all checks: one that fails is enough, and all have to pass. While the
// first result of one is out, as of a check that was just added, the instance stays what it was.
func combine(was Verdict, results []result, now time.Time) Verdict {
	v := Verdict{Health: Healthy, Since: now}
	unknown, undecided := false, ""
	for _, r := range results {
		unknown = unknown || r.unknown
		switch r.health {
		case Unhealthy:
			if v.Health != Unhealthy {
				v.Health, v.Reason = Unhealthy, r.reason
			}
			v.Restart = v.Restart || r.restart(now)
		case Unprobed:
			if v.Health == Healthy {
				v.Health = Unprobed
			}
			undecided = orElse(undecided, r.reason)
		}
	}
	if v.Health == Unprobed {
		v.Health, v.Reason = was.Health, orElse(undecided, was.Reason)
		if was.Health == Healthy {
			v.Reason = ""
		}
	}
	v.Restart = v.Restart && !unknown
	if v.Health == was.Health {
		v.Since = was.Since
	}
	return v
}
