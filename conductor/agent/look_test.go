package agent

import (
	"testing"
	"time"
)

func TestNextLook(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		listed, acted, changed, echoed time.Duration // since the epoch
		want                           time.Duration // 0: never
	}{
		"nothing happened since":                {listed: 900 * ms, acted: 100 * ms, changed: 200 * ms, echoed: 300 * ms},
		"an action ended since":                 {listed: 900 * ms, acted: 901 * ms, want: 900 * ms},
		"an action ended, it was listed then":   {listed: 900 * ms, acted: 899 * ms},
		"something changed since":               {listed: 900 * ms, changed: 901 * ms, want: 900 * ms},
		"just listed after a change":            {listed: 900 * ms, changed: 899 * ms, want: 915 * ms},
		"later after a change":                  {listed: 900 * ms, changed: 700 * ms, want: 950 * ms},
		"long after a change":                   {listed: 900 * ms, changed: 600 * ms},
		"an echo since":                         {listed: 900 * ms, echoed: 950 * ms, want: 1250 * ms},
		"an echo, it was listed then":           {listed: 900 * ms, echoed: 899 * ms},
		"an echo since, and a change before":    {listed: 900 * ms, changed: 899 * ms, echoed: 950 * ms, want: 915 * ms},
		"an action at the moment of the list":   {listed: 900 * ms, acted: 900 * ms, want: 900 * ms},
		"a change at the moment of the listing": {listed: 900 * ms, changed: 900 * ms, want: 900 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			var s sight
			s.listed.set(time.Unix(0, int64(test.listed)))
			s.acted.set(time.Unix(0, int64(test.acted)))
			s.changed.set(time.Unix(0, int64(test.changed)))
			s.echoed.set(time.Unix(0, int64(test.echoed)))
			var want time.Time
			if test.want != 0 {
				want = time.Unix(0, int64(test.want))
			}
			if got := s.next(); !got.Equal(want) {
				t.Errorf("next look at %v, want %v", got, want)
			}
		})
	}
}
