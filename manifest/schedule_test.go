package manifest_test

import (
	"strings"
	"testing"
	"time"
)

func TestNextRun(t *testing.T) {
	tests := map[string]struct{ schedule, after, want string }{
		"every day":        {"30 3 * * *", "2025-03-01T03:29:59Z", "2025-03-01T03:30:00Z"},
		"not at once":      {"30 3 * * *", "2025-03-01T03:30:00Z", "2025-03-02T03:30:00Z"},
		"working days":     {"0 9 * * mon-fri", "2025-02-28T10:00:00Z", "2025-03-03T09:00:00Z"},
		"steps":            {"*/15 * * * *", "2025-03-01T00:07:00Z", "2025-03-01T00:15:00Z"},
		"by name":          {"@hourly", "2025-03-01T00:07:00Z", "2025-03-01T01:00:00Z"},
		"interval":         {"@every 90m", "2025-03-01T00:00:00Z", "2025-03-01T01:30:00Z"},
		"leap day":         {"0 0 29 2 *", "2025-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		"in UTC":           {"0 12 * * *", "2025-03-01T13:30:00+02:00", "2025-03-01T12:00:00Z"},
		"clocks go on, no": {"30 2 * * *", "2025-03-30T01:59:00+01:00", "2025-03-30T02:30:00Z"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			after, err := time.Parse(time.RFC3339, test.after)
			if err != nil {
				t.Fatal(err)
			}
			next, err := parse(t, `"mode": "job", "schedule": "`+test.schedule+`"`).NextRun(after)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, next.Format(time.RFC3339), test.want)
		})
	}
}

func TestScheduleRefuses(t *testing.T) {
	const form = `schedule: must be five fields of cron such as "30 3 * * *", or @hourly and the like: `
	refusals{
		"empty":        {`"mode": "job", "schedule": ""`, []string{`schedule: must not be empty`}},
		"six fields":   {`"mode": "job", "schedule": "0 30 3 * * *"`, []string{form + `expected exactly 5 fields, found 6: [0 30 3 * * *]`}},
		"range":        {`"mode": "job", "schedule": "60 3 * * *"`, []string{form + `end of range (60) above maximum (59): 60`}},
		"words":        {`"mode": "job", "schedule": "@sometimes"`, []string{form + `unrecognized descriptor: @sometimes`}},
		"time zone":    {`"mode": "job", "schedule": "CRON_TZ=Europe/Berlin 30 3 * * *"`, []string{`schedule: "CRON_TZ=Europe/Berlin 30 3 * * *" is no schedule; schedules are in UTC and take no time zone`}},
		"zone alone":   {`"mode": "job", "schedule": "TZ=UTC"`, []string{`schedule: "TZ=UTC" is no schedule; schedules are in UTC and take no time zone`}},
		"too often":    {`"mode": "job", "schedule": "@every 59s"`, []string{`schedule: must not be due more often than every 1m0s`}},
		"backwards":    {`"mode": "job", "schedule": "@every -1h"`, []string{`schedule: must not be due more often than every 1m0s`}},
		"never":        {`"mode": "job", "schedule": "0 0 30 2 *"`, []string{`schedule: "0 0 30 2 *" is never due`}},
		"too long":     {`"mode": "job", "schedule": "` + strings.Repeat("1,", 100) + `1 * * * *"`, []string{`schedule: is 209 characters long, at most 200 are allowed`}},
		"concurrency":  {`"mode": "job", "schedule": "@daily", "concurrency": "Forbid"`, []string{`concurrency: must be "forbid", "allow" or "replace", is "Forbid"`}},
		"on host loss": {`"mode": "job", "on_host_loss": "wait"`, []string{`on_host_loss: must be "restart" or "fail", is "wait"`}},
	}.check(t)
}
