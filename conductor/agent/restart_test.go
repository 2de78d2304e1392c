package agent

import (
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/manifest"
)

func TestRestartAt(t *testing.T) {
	ago := func(minutes ...int) (all []time.Time) {
		for _, m := range minutes {
			all = append(all, now.Add(-time.Duration(m)*time.Minute))
		}
		return all
	}
	policy := func(attempts int, mode string) manifest.Restart {
		return manifest.Restart{Attempts: attempts, Interval: manifest.Duration(30 * time.Minute), Delay: manifest.Duration(4 * time.Second), Mode: mode}
	}
	unlimited := policy(manifest.Unlimited, manifest.RestartDelay)
	patient := unlimited
	patient.Delay = manifest.Duration(5 * time.Minute)
	tests := map[string]struct {
		policy   manifest.Restart
		failures int
		restarts []time.Time
		wait     time.Duration // at most; jitter takes up to a quarter off
		over     string
	}{
		"the first at once":          {unlimited, 1, nil, 0, ""},
		"then the delay":             {unlimited, 2, nil, 4 * time.Second, ""},
		"doubled":                    {unlimited, 4, ago(1), 16 * time.Second, ""},
		"up to a minute":             {unlimited, 7, ago(1), time.Minute, ""},
		"and never more":             {unlimited, 1000, ago(1), time.Minute, ""},
		"unless that is asked for":   {patient, 2, ago(1), 5 * time.Minute, ""},
		"and then always":            {patient, 9, ago(1), 5 * time.Minute, ""},
		"within the attempts":        {policy(3, manifest.RestartFail), 1, ago(20, 10), 0, ""},
		"no attempt is left":         {policy(3, manifest.RestartFail), 1, ago(20, 10, 5), 0, "gave up after 3 restarts in 30m"},
		"of one":                     {policy(1, manifest.RestartFail), 1, ago(20), 0, "gave up after 1 restart in 30m"},
		"there was none":             {policy(0, manifest.RestartDelay), 1, nil, 0, "it is not restarted"},
		"some are long ago":          {policy(3, manifest.RestartFail), 1, ago(40, 30, 20, 10), 0, ""},
		"waits for room":             {policy(3, manifest.RestartDelay), 1, ago(20, 10, 5), 10 * time.Minute, ""},
		"for the oldest that counts": {policy(2, manifest.RestartDelay), 1, ago(20, 10, 5), 20 * time.Minute, ""},
		"and for the delay":          {policy(1, manifest.RestartDelay), 6, ago(30, 29), time.Minute, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				at, over := restartAt(test.policy, test.failures, test.restarts, now)
				wait := at.Sub(now)
				if over != test.over || over == "" && (wait > test.wait || wait < test.wait*3/4) {
					t.Fatalf("after %s, over %q", wait, over)
				}
			}
		})
	}
}
