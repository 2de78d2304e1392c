package state

import (
	"encoding/json"
	"time"

	"github.com/dokkaa/dokkaa/manifest"
)

// Assignment is the scheduler's decision that a host runs an instance of a revision.
type Assignment struct {
	Host       string `json:"host"`
	Revision   int    `json:"revision"`
	Instance   string `json:"instance"`      // id, never used again once it left the slot
	Generation int    `json:"generation"`    // counts the slot's assignments
	Reason     string `json:"reason"`        // why it was made, one of the Reason constants
	Run        string `json:"run,omitempty"` // id of the job's run that it is for
}

// Reasons of assignments.
const (
	ReasonNew      = "new slot"
	ReasonHostLost = "its host is lost"
	ReasonRevision = "the manifest changed"
	ReasonFound    = "it was found running" // the slot's key could not be read
	ReasonRollback = "the update failed"
	ReasonDrain    = "its host is drained"
	ReasonBalance  = "to balance the hosts"
	ReasonUnfit    = "its host is not suitable any more"
	ReasonRun      = "a run is due"
	ReasonStuck    = "it is not healthy, and its host cannot mend it"
)

// Slot is the single authority for one wanted copy of a container; it is changed only by
// compare-and-swap. A slot with neither Current nor Next is being vacated: its key goes
// when the last instance is gone.
type Slot struct {
	Generation int         `json:"generation"`     // of the newest assignment
	Host       string      `json:"host,omitempty"` // that an empty slot is for, of a container that runs on each
	Current    *Assignment `json:"current,omitempty"`
	Next       *Assignment `json:"next,omitempty"` // started beside Current, replaces it once healthy
}

// Revision is a manifest as it was accepted. What needs no new container is kept up to date in it.
type Revision struct {
	Manifest json.RawMessage   `json:"manifest"`
	Versions manifest.Versions `json:"versions,omitzero"`
	Image    string            `json:"image,omitempty"` // what the image's name was resolved to: a digest, or an id
	Hash     string            `json:"hash"`            // of the canonical manifest's part that needs a new container
	Modified uint64            `json:"modified"`        // modifiedIndex of the manifest key that it came from
	Created  time.Time         `json:"created,omitzero"`
	Verdict  Verdict           `json:"verdict,omitempty"`
	Reason   string            `json:"reason,omitempty"` // of the verdict
}

// Verdict is what is known of a revision.
type Verdict string

// The verdicts; a revision that is being tried has none.
const (
	VerdictHealthy Verdict = "healthy" // all its instances were
	VerdictFailed  Verdict = "failed"  // not tried again before the manifest is written again
)

// Rollout is an update that is under way. The key goes when it is done.
type Rollout struct {
	From     int          `json:"from"` // revision
	To       int          `json:"to"`
	Phase    RolloutPhase `json:"phase"`
	Since    time.Time    `json:"since"`   // when the phase began
	Updated  int          `json:"updated"` // slots that have arrived; each is progress
	Failures int          `json:"failures,omitempty"`
	Reason   string       `json:"reason,omitempty"` // of the phase
}

// RolloutPhase is how far a rollout is.
type RolloutPhase string

// The phases of a rollout.
const (
	RolloutUpdating    RolloutPhase = "updating"
	RolloutCanary      RolloutPhase = "canary" // the canaries are healthy, and wait for a person
	RolloutRollingBack RolloutPhase = "rolling back"
	RolloutPaused      RolloutPhase = "paused" // until the manifest changes
)

// Scale overrides a manifest's scale.
type Scale struct {
	Scale    int    `json:"scale"`
	Modified uint64 `json:"modified"` // modifiedIndex of the manifest key that it was made for
}

// Run is one run of a job. It is written before the run starts.
type Run struct {
	Phase    RunPhase  `json:"phase"`
	Revision int       `json:"revision"`
	Slot     int       `json:"slot,omitempty"`
	Host     string    `json:"host,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Created  time.Time `json:"created"`
	Ended    time.Time `json:"ended,omitzero"`
	ExitCode *int      `json:"exit_code,omitempty"`
	Attempts int       `json:"attempts,omitempty"` // instances that were assigned to it
	Log      []string  `json:"log,omitempty"`      // last lines
	Reason   string    `json:"reason,omitempty"`
}

// RunPhase is how far a run is.
type RunPhase string

// The phases of a run.
const (
	RunPending   RunPhase = "pending"
	RunRunning   RunPhase = "running"
	RunCompleted RunPhase = "completed" // exit code 0
	RunFailed    RunPhase = "failed"
	RunSkipped   RunPhase = "skipped" // the last one had not ended
	RunReplaced  RunPhase = "replaced"
)

// Host is the value of a host's lease.
type Host struct {
	IP      string            `json:"ip"`
	ID      string            `json:"id"` // of the conductor process that holds the lease
	Version string            `json:"version"`
	Arch    string            `json:"arch,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	CPUs    float64           `json:"cpus,omitempty"`   // cores that it has
	Memory  int64             `json:"memory,omitempty"` // bytes that it has
	// Condition says why the host takes no new slots; empty if it does.
	Condition string `json:"condition,omitempty"`
}

// ConditionHanging is the Condition of a host whose Docker does not answer: what runs there runs on,
// but nothing can be started or stopped.
const ConditionHanging = "Docker does not answer"

// Availability is what the operator allows a host.
type Availability string

// What a host may be; without a key it takes its share.
const (
	Cordoned Availability = "cordon" // takes nothing new, keeps what it has
	Drained  Availability = "drain"  // takes nothing new, and what it has moves to others
)

// Volume is a volume that a host has, also when nothing uses it.
type Volume struct {
	Ref
	Slot   int    `json:"slot,omitempty"` // 0: shared by all slots
	Volume string `json:"volume"`         // its name in the manifest
	Driver string `json:"driver"`
}

// Removal is what a host says to the request to remove a volume.
type Removal struct {
	Reason string `json:"reason,omitempty"` // why the volume is still there
}

// Image is an image that a host's conductor pulled, and removes when nothing needs it any more.
type Image struct {
	ID    string   `json:"id"`
	Names []string `json:"names"` // that it was pulled by
}

// Settings are those of the cluster, written by the operator; zero fields have their defaults.
type Settings struct {
	HostTTL   string `json:"host_lease,omitempty"`       // how long a host may be silent, "8s"
	HostRenew string `json:"host_lease_renew,omitempty"` // "2s"
}

// Event is a change of state that a person may want to know of.
type Event struct {
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"` // "assigned", "healthy", "host lost", "rollout", ...
	Host     string    `json:"host,omitempty"`
	App      string    `json:"app,omitempty"`
	Name     string    `json:"name,omitempty"`
	Slot     int       `json:"slot,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	LeftOut  int       `json:"left_out,omitempty"` // events just before this one that could not be written
}

// LogLine is a line of an instance's log, as a host's API has it.
type LogLine struct {
	Time   time.Time `json:"time,omitzero"`
	Stream string    `json:"stream,omitempty"` // stdout or stderr
	Text   string    `json:"text"`
	Error  string    `json:"error,omitempty"` // why the log breaks off here
}

// Usage is what an instance uses of its host, as the host's API has it.
type Usage struct {
	CPUs        float64 `json:"cpus"`                   // cores
	Memory      int64   `json:"memory"`                 // bytes, without what is cached of files
	MemoryLimit int64   `json:"memory_limit,omitempty"` // the host's memory, if the instance has no limit
	Received    int64   `json:"received"`               // bytes over the network, since its start
	Sent        int64   `json:"sent"`
	Processes   int     `json:"processes"`
}

// Phase is how far an instance is.
type Phase string

// The phases of an instance, in the order in which it passes through them.
const (
	PhasePulling  Phase = "pulling"
	PhaseStarting Phase = "starting"
	PhaseRunning  Phase = "running" // not yet, or no longer, healthy
	PhaseHealthy  Phase = "healthy"
	PhaseStopping Phase = "stopping"
	PhaseFailed   Phase = "failed" // tried again later, see Reason, unless GaveUp
	PhaseEnded    Phase = "ended"  // a job's run, see ExitCode
)

// Observed is what a host's conductor saw of an instance. The key exists from the assignment's
// acceptance until the container is gone.
type Observed struct {
	Ref
	Slot     int            `json:"slot"`
	Revision int            `json:"revision"`
	Phase    Phase          `json:"phase"`
	Reason   string         `json:"reason,omitempty"`
	Since    time.Time      `json:"since"`
	Restarts int            `json:"restarts,omitempty"`
	Ports    map[string]int `json:"ports,omitempty"` // service -> port on the host
	Image    string         `json:"image,omitempty"` // what the image's name is on this host: a digest, or an id
	// Steady says that it has been healthy for the update's min_healthy_time without a break.
	Steady bool `json:"steady,omitempty"`
	// GaveUp says that the host does not expect it to become healthy: healthy_deadline is over,
	// the attempts to start it are used up, or there is no such image.
	GaveUp   bool     `json:"gave_up,omitempty"`
	ExitCode *int     `json:"exit_code,omitempty"` // when it last ended
	Log      []string `json:"log,omitempty"`       // its last lines, when it ended badly
}

// Status is what a person wants to see of a container.
type Status struct {
	Wanted   int          `json:"wanted"`
	Running  int          `json:"running"`
	Healthy  int          `json:"healthy"`
	Revision int          `json:"revision,omitempty"`
	State    string       `json:"state"`
	Reason   string       `json:"reason,omitempty"`  // of the state
	Rollout  *Rollout     `json:"rollout,omitempty"` // under way, or paused
	Errors   []string     `json:"errors,omitempty"`  // of the manifest; the revision above is in force
	Waiting  []string     `json:"waiting,omitempty"` // why wanted instances are not placed, with how many there are of each
	Run      string       `json:"run,omitempty"`     // the job's last run
	Slots    []SlotStatus `json:"slots,omitempty"`
	More     int          `json:"more,omitempty"` // slots that are left out above, healthy ones first
}

// SlotStatus is the part of a Status about one slot.
type SlotStatus struct {
	Slot     int      `json:"slot"`
	Host     string   `json:"host,omitempty"`
	Instance string   `json:"instance,omitempty"`
	Revision int      `json:"revision,omitempty"`
	Phase    Phase    `json:"phase,omitempty"`
	Reason   string   `json:"reason,omitempty"` // why it is not healthy
	Restarts int      `json:"restarts,omitempty"`
	ExitCode *int     `json:"exit_code,omitempty"` // when it last ended
	Log      []string `json:"log,omitempty"`       // its last lines, when it ended badly
	Next     string   `json:"next,omitempty"`      // the replacement: where it starts and how far it is
}
