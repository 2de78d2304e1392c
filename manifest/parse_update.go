package manifest

import (
	"encoding/json"
	"time"
)

// attemptsNotGiven stands for the default until the mode is known.
const attemptsNotGiven = Unlimited - 1

// maxAttempts is of restarts; who wants more wants Unlimited.
const maxAttempts = 1000

func (d *decoder) restart(path string, value json.RawMessage) Restart {
	r := Restart{Attempts: attemptsNotGiven, Interval: DefaultRestartInterval, Delay: DefaultRestartDelay}
	d.read(path, value, fields{
		"attempts": into(&r.Attempts, d.between(Unlimited, maxAttempts)),
		"interval": into(&r.Interval, d.lasting(time.Second, longest)),
		"delay":    into(&r.Delay, d.lasting(100*time.Millisecond, time.Minute)),
		"mode":     into(&r.Mode, oneOf(d, RestartFail, RestartDelay)),
	})
	return r
}

// complete fills in what depends on the manifest's mode, and on the number of attempts: what may
// be used up is given up then.
func (r *Restart) complete(mode Mode) {
	if r.Attempts == attemptsNotGiven {
		r.Attempts = Unlimited
		if mode == JobMode {
			r.Attempts = 0
		}
	}
	if r.Mode == "" {
		r.Mode = RestartFail
		if r.Attempts == Unlimited {
			r.Mode = RestartDelay
		}
	}
}

func (d *decoder) disconnect(path string, value json.RawMessage) Disconnect {
	c := defaults().Disconnect
	d.read(path, value, fields{
		"lost_after":           into(&c.LostAfter, d.lastingOrNull(0, longest)),
		"replace":              into(&c.Replace, d.flag),
		"stop_on_client_after": into(&c.StopOnClientAfter, d.lastingOrNull(0, longest)),
		"reconcile":            into(&c.Reconcile, oneOf(d, KeepOriginal, KeepReplacement)),
	})
	return c
}

func (d *decoder) update(path string, value json.RawMessage) Update {
	u := defaults().Update
	given := d.read(path, value, fields{
		"order":             into(&u.Order, oneOf(d, OrderStartFirst, OrderStopFirst)),
		"max_parallel":      into(&u.MaxParallel, d.between(1, MaxScale)),
		"min_healthy_time":  into(&u.MinHealthyTime, d.lasting(0, 24*time.Hour)),
		"healthy_deadline":  into(&u.HealthyDeadline, d.lasting(time.Second, 7*24*time.Hour)),
		"progress_deadline": into(&u.ProgressDeadline, d.lasting(0, longest)),
		"failure_action":    into(&u.FailureAction, oneOf(d, FailureRollback, FailurePause, FailureContinue)),
		"canary":            into(&u.Canary, d.between(0, MaxScale)),
	})
	if !given["progress_deadline"] {
		u.ProgressDeadline = max(u.ProgressDeadline, u.HealthyDeadline)
	}
	return u
}
