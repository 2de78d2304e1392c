// Package schedule decides which host runs what. It is pure: manifests, hosts, observed states and
// the time in, changes of keys with their reasons out.
package schedule

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// Node is one key as the store has it.
type Node struct {
	Key, Value        string
	Created, Modified uint64
}

// Liveness is what the scheduler holds of a host.
type Liveness int

// A host is Missing from the end of its lease until the scheduler is sure: it takes nothing new,
// but keeps what it has.
const (
	Alive Liveness = iota
	Missing
	Lost
)

// Host is a host of the cluster.
type Host struct {
	state.Host
	Liveness     Liveness
	Availability state.Availability // what the operator allows it, "" for everything
	Silent       time.Time          // of a host that is not Alive: when it was last heard of
	Gone         time.Time          // of a host that is Lost: since when it is
}

// refuses says why the host takes nothing new, "" if it does.
func (h Host) refuses() string {
	switch {
	case h.Liveness != Alive:
		return "lost"
	case h.Condition != "":
		return h.Condition
	case h.Availability == state.Drained:
		return "drained"
	case h.Availability == state.Cordoned:
		return "cordoned"
	}
	return ""
}

// Observed is what a host's conductor reported of an instance.
type Observed struct {
	state.Observed
	Host string
}

// Change is one write to the store, with its reason.
type Change struct {
	Ref       state.Ref // whose it is
	Kind      Kind
	Key       string
	Value     string
	PrevIndex uint64 // of Swap and Delete
	Reason    string
}

// Kind is how a key is written.
type Kind int

// The kinds of change. None of them undoes what somebody else wrote in between, but for Put,
// which writes keys that only the scheduler reads the meaning of.
const (
	Put    Kind = iota // unconditionally
	Create             // only if it is not there
	Swap               // only if it is as it was seen
	Delete             // only if it is as it was seen; unconditionally with PrevIndex 0
	Prune              // remove the directory if it is empty
)

func (k Kind) String() string { return [...]string{"put", "create", "swap", "delete", "prune"}[k] }

// app is what stands below /apps/<app>/<name>.
type app struct {
	manifest  *value // nil if the user removed it
	slots     map[int]slot
	revisions map[int]revision
	runs      map[string]run
	rollout   *rollout
	scale     *scale
	promote   string // number of the revision that a person found good
	promoted  uint64 // index of that key, 0 if there is none
	restart   int    // number of the restarts that were asked for
	restarted uint64 // index of that key, 0 if there is none
	status    string // as stored, "" if there is none
}

// value is the manifest key.
type value struct {
	text              string
	created, modified uint64 // index
	parsed            *manifest.Manifest
	errors            []string // why it was not parsed
}

// slot is a slot key.
type slot struct {
	state.Slot
	modified uint64 // index, 0 if the key is not there
	// unreadable says that the key holds something else: who runs the slot is to be found out.
	unreadable bool
}

// wanted tells whether a slot is not being vacated.
func (s slot) wanted() bool { return s.Current != nil || s.Next != nil || s.unreadable }

// assignments are those that the slot has.
func (s slot) assignments() []*state.Assignment {
	var all []*state.Assignment
	for _, a := range []*state.Assignment{s.Current, s.Next} {
		if a != nil {
			all = append(all, a)
		}
	}
	return all
}

// revision is a revision key.
type revision struct {
	state.Revision
	modified uint64             // index of the key
	parsed   *manifest.Manifest // nil if it cannot be read
}

// rollout is the rollout key.
type rollout struct {
	state.Rollout
	modified uint64    // index
	seen     time.Time // when this value was first seen, by the scheduler's own clock
}

// scale is the scale key.
type scale struct {
	state.Scale
	modified   uint64 // index
	unreadable bool
}

// run is a key of a job's run.
type run struct {
	state.Run
	modified uint64 // index
}

func newApp() *app {
	return &app{slots: map[int]slot{}, revisions: map[int]revision{}, runs: map[string]run{}}
}

// empty tells whether no key is left.
func (a *app) empty() bool {
	return a.manifest == nil && len(a.slots) == 0 && len(a.revisions) == 0 && len(a.runs) == 0 && a.rollout == nil &&
		a.scale == nil && a.promoted == 0 && a.restarted == 0 && a.status == ""
}

// set takes in a key. What cannot be read counts as what it would be if it were new.
func (a *app) set(key state.AppKey, node Node, now time.Time) {
	switch {
	case key.Kind == "manifest" && key.Item == 0:
		a.manifest = &value{text: node.Value, created: node.Created, modified: node.Modified}
		a.manifest.parsed, a.manifest.errors = parse(key.Ref, node.Value)
	case key.Kind == "status" && key.Item == 0:
		a.status = node.Value
	case key.Kind == "hosts" && key.Item > 0:
		s := slot{modified: node.Modified}
		if json.Unmarshal([]byte(node.Value), &s.Slot) != nil {
			s.Slot, s.unreadable = state.Slot{}, true
		}
		a.slots[key.Item] = s
	case key.Kind == "revisions" && key.Item > 0:
		r := revision{modified: node.Modified}
		if json.Unmarshal([]byte(node.Value), &r.Revision) != nil {
			r.Revision = state.Revision{} // its number is taken all the same
		} else if m, err := manifest.Parse(r.Manifest); err == nil {
			r.parsed = m
		}
		a.revisions[key.Item] = r
	case key.Kind == "runs" && key.ID != "":
		r := run{modified: node.Modified}
		if json.Unmarshal([]byte(node.Value), &r.Run) != nil {
			r.Run = state.Run{Phase: state.RunFailed, Reason: "its key cannot be read"}
		}
		a.runs[key.ID] = r
	case key.Kind == "rollout" && key.Item == 0:
		r := &rollout{modified: node.Modified, seen: now}
		if json.Unmarshal([]byte(node.Value), &r.Rollout) != nil {
			r.Rollout = state.Rollout{}
		}
		a.rollout = r
	case key.Kind == "scale" && key.Item == 0:
		s := &scale{modified: node.Modified}
		if json.Unmarshal([]byte(node.Value), &s.Scale) != nil {
			number, err := strconv.Atoi(node.Value) // written by hand: for the manifest as it is
			if s.Scale, s.unreadable = (state.Scale{Scale: number}), err != nil || number < 0; a.manifest != nil {
				s.Modified = a.manifest.modified
			}
		}
		a.scale = s
	case key.Kind == "promote" && key.Item == 0:
		a.promote, a.promoted = node.Value, node.Modified
	case key.Kind == "restart" && key.Item == 0:
		a.restart, a.restarted = state.ParseRestart(node.Value), node.Modified
	}
}

// unset forgets a key.
func (a *app) unset(key state.AppKey) {
	switch key.Kind {
	case "manifest":
		a.manifest = nil
	case "status":
		a.status = ""
	case "hosts":
		delete(a.slots, key.Item)
	case "revisions":
		delete(a.revisions, key.Item)
	case "runs":
		delete(a.runs, key.ID)
	case "rollout":
		a.rollout = nil
	case "scale":
		a.scale = nil
	case "promote":
		a.promote, a.promoted = "", 0
	case "restart":
		a.restart, a.restarted = 0, 0
	}
}

// clone copies what planning changes.
func (a *app) clone() *app {
	c := *a
	c.slots, c.revisions, c.runs = maps.Clone(a.slots), maps.Clone(a.revisions), maps.Clone(a.runs)
	return &c
}

// latest is the number of the newest revision, 0 if there is none.
func (a *app) latest() int {
	n := 0
	for number := range a.revisions {
		n = max(n, number)
	}
	return n
}

func (a *app) slotNumbers() []int { return slices.Sorted(maps.Keys(a.slots)) }
