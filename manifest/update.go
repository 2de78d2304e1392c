package manifest

import "time"

// Update is how instances are replaced when the manifest changes.
type Update struct {
	Order            string   `json:"order"`             // OrderStartFirst or OrderStopFirst
	MaxParallel      int      `json:"max_parallel"`      // slots that change at a time
	MinHealthyTime   Duration `json:"min_healthy_time"`  // an instance must be healthy for so long to count
	HealthyDeadline  Duration `json:"healthy_deadline"`  // by which an instance must be, from its assignment
	ProgressDeadline Duration `json:"progress_deadline"` // by which the next instance must be, 0: never
	FailureAction    string   `json:"failure_action"`
	Canary           int      `json:"canary"` // instances that are started first, beside the old ones, until a person promotes them
}

// Orders of an update. Where a host port or a volume with a single writer forces it, an update is
// stop-first whatever was asked for.
const (
	OrderStartFirst = "start-first"
	OrderStopFirst  = "stop-first"
)

// What is done about an update that fails.
const (
	FailureRollback = "rollback" // go back to the last healthy revision
	FailurePause    = "pause"    // leave everything as it is, until the manifest changes
	FailureContinue = "continue"
)

// Defaults of an update and of an instance's end.
const (
	DefaultMinHealthyTime   = Duration(10 * time.Second)
	DefaultHealthyDeadline  = Duration(5 * time.Minute)
	DefaultProgressDeadline = Duration(10 * time.Minute)
	DefaultStopGracePeriod  = Duration(10 * time.Second)
	DefaultDrainTimeout     = Duration(30 * time.Second)
	DefaultRevisionHistory  = 10
)

// StopFirst tells whether an instance must be gone before its successor may start, because of
// what it holds: a fixed port of the host, or a volume that one container may write at a time.
func (m *Manifest) StopFirst() bool {
	return m.Update.Order == OrderStopFirst || m.SingleWriter() || m.hasHostPort()
}

func (m *Manifest) hasHostPort() bool {
	for _, service := range m.Services {
		if service.HostPort != 0 {
			return true
		}
	}
	return false
}

// Disconnect is what happens to instances on a host that is not heard of.
type Disconnect struct {
	// LostAfter is how long after the host's last word its instances are given up, when that is
	// later than the end of the host's lease; 0: then.
	LostAfter Duration `json:"lost_after,omitempty"`
	Replace   bool     `json:"replace"` // whether a replacement is started elsewhere
	// StopOnClientAfter is how long after its last renewed lease the host itself stops the
	// instance; 0: never, but for a movable volume with a single writer, where it is before the
	// lease ends.
	StopOnClientAfter Duration `json:"stop_on_client_after,omitempty"`
	// Reconcile is who stays when the host comes back before the replacement is healthy.
	Reconcile string `json:"reconcile"`
}

// Who stays.
const (
	KeepOriginal    = "keep_original"
	KeepReplacement = "keep_replacement"
)
