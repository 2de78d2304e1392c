package agent

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/manifest"
)

// thresholds is a check with all timing of its own.
func thresholds() manifest.Check {
	return manifest.Check{Type: manifest.CheckHTTP, Interval: manifest.Duration(10 * time.Second), SuccessThreshold: 1, FailureThreshold: 3,
		StartPeriod: manifest.Duration(5 * time.Second), StartInterval: manifest.Duration(2 * time.Second)}
}

func TestTally(t *testing.T) {
	pass, fail, unknown := error(nil), errors.New("refused"), fmt.Errorf("%w: Docker hangs", errUntried)
	type step struct {
		at   time.Duration // since the first try
		err  error
		want string // "<health> <wait>"
	}
	tests := map[string]struct {
		change func(*manifest.Check)
		steps  []step
	}{
		"passes": {steps: []step{{0, pass, "healthy 10s"}, {10 * time.Second, pass, "healthy 10s"}}},
		"starts quickly": {steps: []step{{0, fail, "unprobed 20ms"}, {20 * time.Millisecond, fail, "unprobed 20ms"},
			{400 * time.Millisecond, fail, "unprobed 100ms"}, {500 * time.Millisecond, pass, "healthy 10s"}}},
		"a command is not tried as often": {change: func(c *manifest.Check) { c.Type = manifest.CheckExec },
			steps: []step{{0, fail, "unprobed 250ms"}, {2 * time.Second, fail, "unprobed 500ms"}}},
		"start interval": {change: func(c *manifest.Check) { c.StartInterval = manifest.Duration(50 * time.Millisecond) },
			steps: []step{{0, fail, "unprobed 20ms"}, {time.Second, fail, "unprobed 50ms"}}},
		"failures in the start period don't count": {steps: []step{{time.Second, fail, "unprobed 250ms"}, {4 * time.Second, fail, "unprobed 1s"},
			{5 * time.Second, fail, "unprobed 1.25s"}, {6 * time.Second, fail, "unprobed 1.5s"}, {8 * time.Second, fail, "unhealthy 1s"}}},
		"failures after a first success do": {steps: []step{{0, pass, "healthy 10s"}, {time.Second, fail, "healthy 1s"},
			{2 * time.Second, fail, "healthy 1s"}, {3 * time.Second, fail, "unhealthy 1s"}}},
		"in a row": {steps: []step{{0, pass, "healthy 10s"}, {1, fail, "healthy 1s"}, {2, fail, "healthy 1s"}, {3, pass, "healthy 10s"},
			{4, fail, "healthy 1s"}, {5, fail, "healthy 1s"}, {6, fail, "unhealthy 1s"}, {7, pass, "healthy 10s"}}},
		"unhealthy for long": {change: func(c *manifest.Check) { c.FailureThreshold, c.StartPeriod = 1, 0 },
			steps: []step{{0, fail, "unhealthy 1s"}, {1, fail, "unhealthy 2s"}, {2, fail, "unhealthy 4s"}, {3, fail, "unhealthy 8s"},
				{4, fail, "unhealthy 10s"}, {5, fail, "unhealthy 10s"}}},
		"several successes": {change: func(c *manifest.Check) { c.SuccessThreshold, c.FailureThreshold = 2, 1 },
			steps: []step{{0, pass, "unprobed 20ms"}, {time.Second, fail, "unprobed 250ms"}, {2 * time.Second, pass, "unprobed 500ms"},
				{3 * time.Second, pass, "healthy 10s"}, {4 * time.Second, fail, "unhealthy 1s"}, {5 * time.Second, pass, "unhealthy 1s"},
				{6 * time.Second, pass, "healthy 10s"}}},
		"a short interval": {change: func(c *manifest.Check) { c.Interval = manifest.Duration(200 * time.Millisecond) },
			steps: []step{{0, pass, "healthy 200ms"}, {1, fail, "healthy 200ms"}, {2, fail, "healthy 200ms"}, {3, fail, "unhealthy 200ms"},
				{4, fail, "unhealthy 200ms"}}},
		"what is unknown changes nothing": {steps: []step{{0, unknown, "unprobed 20ms"}, {10 * time.Second, unknown, "unprobed 2s"},
			{11 * time.Second, pass, "healthy 10s"}, {12 * time.Second, fail, "healthy 1s"}, {13 * time.Second, unknown, "healthy 1s"},
			{14 * time.Second, fail, "healthy 1s"}, {15 * time.Second, unknown, "healthy 1s"}, {16 * time.Second, fail, "unhealthy 1s"},
			{17 * time.Second, unknown, "unhealthy 1s"}, {18 * time.Second, pass, "healthy 10s"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := thresholds()
			if test.change != nil {
				test.change(&c)
			}
			var got, want []string
			ty := tally{since: now}
			for _, s := range test.steps {
				wait := ty.take(c, s.err, now.Add(s.at))
				got = append(got, fmt.Sprintf("%s %s", healthNames[ty.health], wait))
				want = append(want, s.want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

var healthNames = map[Health]string{Unprobed: "unprobed", Healthy: "healthy", Unhealthy: "unhealthy"}

func TestReasonVariesWithTheKindOfFailureOnly(t *testing.T) {
	c := thresholds()
	ty := tally{since: now.Add(-time.Minute)}
	for _, step := range []struct {
		err  error
		want string
	}{
		{&failure{"exited with code 1", "at 10:00"}, "exited with code 1: at 10:00"},
		{&failure{"exited with code 1", "at 10:01"}, "exited with code 1: at 10:00"},
		{&failure{"exited with code 2", ""}, "exited with code 2"},
		{&failure{"exited with code 1", "at 10:02"}, "exited with code 1: at 10:02"},
		{nil, ""},
		{&failure{"exited with code 1", "at 10:03"}, "exited with code 1: at 10:03"},
	} {
		ty.take(c, step.err, now)
		if ty.reason != step.want {
			t.Errorf("reason %q, want %q", ty.reason, step.want)
		}
	}
}

func TestCombine(t *testing.T) {
	before := now.Add(-time.Hour)
	type is = result
	ok := is{tally: tally{health: Healthy, passed: true}}
	open := is{tally: tally{reason: "no answer"}}
	bad := is{tally: tally{health: Unhealthy, passed: true, reason: "refused"}, check: check{Check: manifest.Check{OnFailure: manifest.OnFailureRestart}}}
	worse := is{tally: tally{health: Unhealthy, passed: true, reason: "status 503"}, check: check{Check: manifest.Check{OnFailure: manifest.OnFailureUnready}}}
	unknown := is{tally: tally{health: Healthy, unknown: true}}
	recovering, starting := bad, bad
	recovering.successes = 1
	starting.passed, starting.check.patience, starting.since = false, time.Minute, now.Add(-time.Second)
	late := starting
	late.since = now.Add(-time.Minute)
	healthy, unhealthy := Verdict{Health: Healthy, Since: before}, Verdict{Health: Unhealthy, Reason: "refused", Since: before, Restart: true}
	tests := map[string]struct {
		was     Verdict
		results []result
		want    Verdict
	}{
		"all pass":                             {Verdict{}, []result{ok, ok}, Verdict{Health: Healthy, Since: now}},
		"still":                                {healthy, []result{ok, ok}, healthy},
		"one is open":                          {Verdict{}, []result{ok, open}, Verdict{Reason: "no answer"}},
		"one fails":                            {healthy, []result{ok, bad}, Verdict{Health: Unhealthy, Reason: "refused", Since: now, Restart: true}},
		"two fail":                             {healthy, []result{worse, bad}, Verdict{Health: Unhealthy, Reason: "status 503", Since: now, Restart: true}},
		"still failing":                        {unhealthy, []result{ok, bad}, unhealthy},
		"no restart wanted":                    {healthy, []result{worse, ok}, Verdict{Health: Unhealthy, Reason: "status 503", Since: now}},
		"no restart while one is unknown":      {healthy, []result{bad, unknown}, Verdict{Health: Unhealthy, Reason: "refused", Since: now}},
		"no restart of what has passed again":  {unhealthy, []result{recovering}, Verdict{Health: Unhealthy, Reason: "refused", Since: before}},
		"no restart of what may be starting":   {Verdict{}, []result{starting}, Verdict{Health: Unhealthy, Reason: "refused", Since: now}},
		"but of what has had its time":         {Verdict{}, []result{late}, Verdict{Health: Unhealthy, Reason: "refused", Since: now, Restart: true}},
		"a new check leaves it healthy":        {healthy, []result{ok, open}, healthy},
		"a new check leaves it unhealthy":      {unhealthy, []result{open}, Verdict{Health: Unhealthy, Reason: "no answer", Since: before}},
		"likewise before it has said anything": {unhealthy, []result{{}}, Verdict{Health: Unhealthy, Reason: "refused", Since: before}},
		"a new check that fails":               {healthy, []result{ok, bad}, Verdict{Health: Unhealthy, Reason: "refused", Since: now, Restart: true}},
		"recovers":                             {unhealthy, []result{ok}, Verdict{Health: Healthy, Since: now}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := combine(test.was, test.results, now); got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}
