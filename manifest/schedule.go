package manifest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Limits of schedules.
const (
	maxSchedule = 200 // characters
	minEvery    = time.Minute
)

// NextRun is when a run is due, after a time. Schedules are in UTC. The job must have one.
func (j Job) NextRun(after time.Time) (time.Time, error) {
	schedule, err := parseSchedule(j.Schedule)
	if err != nil {
		return time.Time{}, err
	}
	return schedule.Next(after.UTC()), nil
}

// complete fills in the defaults, which only jobs have.
func (j *Job) complete(mode Mode) {
	if mode != JobMode {
		return
	}
	if j.OnHostLoss == "" {
		j.OnHostLoss = RunRestart
	}
	if j.Concurrency == "" && j.Schedule != "" {
		j.Concurrency = ConcurrencyForbid
	}
}

func (d *decoder) schedule(path string, value json.RawMessage) string {
	text := d.word(path, value)
	if d.errs.has(path) {
		return text
	}
	if _, err := parseSchedule(text); err != nil {
		d.errs.add(path, err.Error())
	}
	return text
}

func parseSchedule(text string) (cron.Schedule, error) {
	if len(text) > maxSchedule {
		return nil, fmt.Errorf("is %d characters long, at most %d are allowed", len(text), maxSchedule)
	}
	// The library would take a time zone, and panics at one without a schedule behind it.
	if strings.Contains(text, "=") {
		return nil, fmt.Errorf("%q is no schedule; schedules are in UTC and take no time zone", text)
	}
	schedule, err := cron.ParseStandard(text)
	if err != nil {
		return nil, fmt.Errorf(`must be five fields of cron such as "30 3 * * *", or @hourly and the like: %w`, err)
	}
	if every, ok := schedule.(cron.ConstantDelaySchedule); ok && every.Delay < minEvery {
		return nil, fmt.Errorf("must not be due more often than every %v", minEvery)
	}
	if schedule.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, fmt.Errorf("%q is never due", text)
	}
	return schedule, nil
}
