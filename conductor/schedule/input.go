// Package schedule decides which host runs what. It is pure: manifests, hosts and observed
// states in, changes of keys with their reasons out.
package schedule

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
)

// Input is everything that a plan depends on.
type Input struct {
	Apps     map[state.Ref]*App
	Hosts    map[string]Host
	Observed map[string]Observed // by instance, on hosts that are not lost
	NewID    func() string       // makes ids of instances
}

// App is what stands below /apps/<app>/<name>.
type App struct {
	Manifest  *Value // nil if the user removed it
	Slots     map[int]Slot
	Revisions map[int]state.Revision
	Status    string   // as stored, "" if there is none
	Other     []string // further keys that go when the manifest goes
}

// Value is a key's value and history.
type Value struct {
	Text     string
	Created  uint64 // index
	Modified uint64 // index
}

// Slot is a slot key.
type Slot struct {
	state.Slot
	Modified uint64 // index, 0 if the key is not there
	// Unreadable says that the key holds something else: who runs the slot is to be found out.
	Unreadable bool
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
	Liveness Liveness
}

// Observed is what a host's conductor reported of an instance.
type Observed struct {
	state.Observed
	Host string
}

// Change is one write to the store, with its reason.
type Change struct {
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

// Node is one key as the store has it.
type Node struct {
	Key, Value        string
	Created, Modified uint64
}

// ReadApps sorts the keys below /apps by container.
func ReadApps(nodes func(yield func(Node) bool)) map[state.Ref]*App {
	apps := map[state.Ref]*App{}
	for node := range nodes {
		key, ok := state.ParseAppKey(node.Key)
		if !ok {
			continue
		}
		app := apps[key.Ref]
		if app == nil {
			app = &App{Slots: map[int]Slot{}, Revisions: map[int]state.Revision{}}
			apps[key.Ref] = app
		}
		app.read(key, node)
	}
	return apps
}

func (a *App) read(key state.AppKey, node Node) {
	switch {
	case key.Kind == "manifest" && key.Item == 0:
		a.Manifest = &Value{Text: node.Value, Created: node.Created, Modified: node.Modified}
	case key.Kind == "status" && key.Item == 0:
		a.Status = node.Value
	case key.Kind == "hosts" && key.Item > 0:
		slot := Slot{Modified: node.Modified}
		if json.Unmarshal([]byte(node.Value), &slot.Slot) != nil {
			slot.Slot, slot.Unreadable = state.Slot{}, true
		}
		a.Slots[key.Item] = slot
	case key.Kind == "revisions" && key.Item > 0:
		var r state.Revision
		if json.Unmarshal([]byte(node.Value), &r) != nil {
			r = state.Revision{} // its number is taken all the same
		}
		a.Revisions[key.Item] = r
	case key.Kind == "scale" && key.Item == 0:
		a.Other = append(a.Other, node.Key)
	}
}

// clone copies what planning changes.
func (a *App) clone() *App {
	c := *a
	c.Slots, c.Revisions = maps.Clone(a.Slots), maps.Clone(a.Revisions)
	return &c
}

// latest is the number of the newest revision, 0 if there is none.
func (a *App) latest() int {
	n := 0
	for revision := range a.Revisions {
		n = max(n, revision)
	}
	return n
}

// wantedNow is how many slots are not being vacated.
func (a *App) wantedNow() int {
	n := 0
	for _, slot := range a.Slots {
		if slot.wanted() {
			n++
		}
	}
	return n
}

// wanted tells whether a slot is not being vacated.
func (s Slot) wanted() bool { return s.Current != nil || s.Next != nil || s.Unreadable }

func (a *App) slotNumbers() []int { return slices.Sorted(maps.Keys(a.Slots)) }
