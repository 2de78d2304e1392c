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
