package manifest

import "time"

// Check is one way to tell whether an instance is healthy. The host's own conductor makes it; an
// instance is healthy while all its checks pass.
type Check struct {
	Name    string            `json:"name"`
	Type    CheckType         `json:"type"`
	Service string            `json:"service,omitempty"` // of http and tcp: the service whose port is asked
	Path    string            `json:"path,omitempty"`    // of http; passed by a status of 200 to 399
	Headers map[string]string `json:"headers,omitempty"` // of http
	Command []string          `json:"command,omitempty"` // of exec; passed by exit code 0

	Interval         Duration    `json:"interval"`
	Timeout          Duration    `json:"timeout"`
	SuccessThreshold int         `json:"success_threshold"` // in a row, to become healthy
	FailureThreshold int         `json:"failure_threshold"` // in a row, to become unhealthy
	StartPeriod      Duration    `json:"start_period"`      // failures before the first success don't count for so long
	StartInterval    Duration    `json:"start_interval"`    // between two tries before it is healthy, at most
	OnFailure        CheckAction `json:"on_failure"`
}

// CheckType is how a check is made.
type CheckType string

// The types of check.
const (
	CheckHTTP CheckType = "http"
	CheckTCP  CheckType = "tcp"
	CheckExec CheckType = "exec"
)

// CheckAction is what is done with an instance that has become unhealthy, beside withdrawing it.
type CheckAction string

// The actions.
const (
	OnFailureRestart CheckAction = "restart" // the default
	OnFailureUnready CheckAction = "unready" // nothing else
)

// Defaults of a check.
const (
	DefaultCheckInterval      = Duration(10 * time.Second)
	DefaultCheckTimeout       = Duration(2 * time.Second)
	DefaultSuccessThreshold   = 1
	DefaultFailureThreshold   = 3
	DefaultCheckStartPeriod   = Duration(30 * time.Second)
	DefaultCheckStartInterval = Duration(time.Second)
)

// Restart is how often an instance that ended or is unhealthy is started again on its host. The
// first restart is at once, later ones are ever later, from Delay doubling up to a minute.
type Restart struct {
	Attempts int      `json:"attempts"` // within Interval, or Unlimited: the default, but for a job 0
	Interval Duration `json:"interval"`
	Delay    Duration `json:"delay"`
	Mode     string   `json:"mode"` // when the attempts are used up: "fail" gives up, "delay" waits for the interval's end
}

// Unlimited is the number of attempts of what is never given up.
const Unlimited = -1

// What happens when the attempts are used up.
const (
	RestartFail  = "fail"
	RestartDelay = "delay"
)

// Defaults of Restart.
const (
	DefaultRestartInterval = Duration(30 * time.Minute)
	DefaultRestartDelay    = Duration(time.Second)
)
