package state

import (
	"encoding/json"
	"time"
)

// Assignment is the scheduler's decision that a host runs an instance of a revision.
type Assignment struct {
	Host       string `json:"host"`
	Revision   int    `json:"revision"`
	Instance   string `json:"instance"`   // id, never used again once it left the slot
	Generation int    `json:"generation"` // counts the slot's assignments
	Reason     string `json:"reason"`     // why it was made, one of the Reason constants
}

// Reasons of assignments.
const (
	ReasonNew      = "new slot"
	ReasonHostLost = "its host is lost"
	ReasonRevision = "the manifest changed"
	ReasonFound    = "it was found running" // the slot's key could not be read
)

// Slot is the single authority for one wanted copy of a container; it is changed only by
// compare-and-swap. A slot with neither Current nor Next is being vacated: its key goes
// when the last instance is gone.
type Slot struct {
	Generation int         `json:"generation"` // of the newest assignment
	Current    *Assignment `json:"current,omitempty"`
	Next       *Assignment `json:"next,omitempty"` // started beside Current, replaces it once healthy
}

// Revision is a manifest as it was accepted.
type Revision struct {
	Manifest json.RawMessage `json:"manifest"`
	Image    string          `json:"image,omitempty"` // what the image's name was resolved to
	Hash     string          `json:"hash"`            // of the canonical manifest's part that needs a new container
	Modified uint64          `json:"modified"`        // modifiedIndex of the manifest key that it came from
}

// Host is the value of a host's lease.
type Host struct {
	IP      string            `json:"ip"`
	ID      string            `json:"id"` // of the conductor process that holds the lease
	Version string            `json:"version"`
	Arch    string            `json:"arch,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Condition says why the host takes no new slots; empty if it does.
	Condition string `json:"condition,omitempty"`
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
	PhaseFailed   Phase = "failed" // tried again later, see Reason
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
}

// Status is what a person wants to see of a container.
type Status struct {
	Wanted   int          `json:"wanted"`
	Running  int          `json:"running"`
	Healthy  int          `json:"healthy"`
	Revision int          `json:"revision,omitempty"`
	State    string       `json:"state"`
	Errors   []string     `json:"errors,omitempty"` // of the manifest; the revision above is in force
	Slots    []SlotStatus `json:"slots,omitempty"`
	More     int          `json:"more,omitempty"` // slots that are left out above, healthy ones first
}

// SlotStatus is the part of a Status about one slot.
type SlotStatus struct {
	Slot     int    `json:"slot"`
	Host     string `json:"host,omitempty"`
	Instance string `json:"instance,omitempty"`
	Revision int    `json:"revision,omitempty"`
	Phase    Phase  `json:"phase,omitempty"`
	Reason   string `json:"reason,omitempty"` // why it is not healthy
	Next     string `json:"next,omitempty"`   // the replacement: where it starts and how far it is
}
