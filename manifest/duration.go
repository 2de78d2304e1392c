package manifest

import (
	"encoding/json"
	"time"
)

// Duration is a time.Duration that is written as text in JSON: "1m30s".
type Duration time.Duration

// MarshalJSON writes the duration as Go does.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// Of is the duration.
func (d Duration) Of() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// longest is more than any field has a use for, and far from where durations overflow.
const longest = 30 * 24 * time.Hour

// lasting reads a duration between low and high, in whole milliseconds.
func (d *decoder) lasting(low, high time.Duration) reader[Duration] {
	return func(path string, value json.RawMessage) Duration {
		if kind(value) != '"' {
			d.errs.add(path, `must be a duration such as "10s" or "1m30s", is `+describe(value))
			return Duration(low)
		}
		text := d.text(path, value)
		span, err := time.ParseDuration(text)
		switch {
		case err != nil:
			d.errs.addf(path, `must be a duration such as "10s" or "1m30s", is %q`, text)
		case span < low || span > high:
			d.errs.addf(path, "must be between %v and %v, is %v", low, high, span)
		case span%time.Millisecond != 0:
			d.errs.addf(path, "must be whole milliseconds, is %v", span)
		default:
			return Duration(span)
		}
		return Duration(low)
	}
}

// lastingOrNull is the same with null for none.
func (d *decoder) lastingOrNull(low, high time.Duration) reader[Duration] {
	read := d.lasting(low, high)
	return func(path string, value json.RawMessage) Duration {
		if kind(value) == 'n' {
			return 0
		}
		return read(path, value)
	}
}
