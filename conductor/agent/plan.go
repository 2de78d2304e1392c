// Package agent runs this host's share of the cluster: it makes Docker's containers what the
// slots in etcd say, probes them, and announces their services.
package agent

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/manifest"
)

// Desired is an instance that the slots assign to this host.
type Desired struct {
	engine.Spec                             // Spec.Name is the canonical name
	Next        bool                        // started beside the slot's current instance, to replace it
	Services    map[string]manifest.Service // that it offers
	Manifest    *manifest.Manifest          // in force for its revision; nil if Invalid
	Versions    manifest.Versions           // of the secrets and configs that it uses
	Resolved    bool                        // Spec.Image is what a host found the manifest's image to be
	Run         string                      // id of the job's run that it is for, "" for what is no job
	Invalid     string                      // why it cannot be run at all, "" if it can
}

// startName is the name of a container that cannot have the canonical one yet.
func (d Desired) startName() string { return d.Spec.Name + "---next-" + d.Instance }

// Memory is what the agent knows about an instance beside what Docker says.
type Memory struct {
	Halted    bool      // it was stopped for want of the host's lease
	Busy      bool      // an action on it is under way
	NotBefore time.Time // of the next Restart or Run: the container ended, or could not be started
	// Failed is the kind of the Remove or Rename that failed last, not to be tried before RetryAfter.
	Failed     Kind
	RetryAfter time.Time
	Over       bool      // it is not started any more
	Unhealthy  string    // why it is to be restarted though it runs, "" if it is not
	Detached   time.Time // since when it runs without an address on the network, zero if it has one
}

// due is when an action may be tried.
func (m Memory) due(a Action) time.Time {
	switch {
	case a.Kind == Restart || a.Kind == Run:
		return m.NotBefore
	case a.Kind == m.Failed && !m.RetryAfter.IsZero():
		return m.RetryAfter
	case a.Reason == ReasonDetached:
		return m.Detached.Add(detachedPatience)
	}
	return time.Time{}
}

// detachedPatience is how long a container may run without an address on the network: while it
// starts it has none for a moment.
const detachedPatience = 3 * time.Second

// Input is everything that a plan depends on.
type Input struct {
	Now        time.Time
	Known      bool // Desired is what the store says now; otherwise nothing may be taken away
	Desired    map[string]Desired
	Leaseless  map[string]bool // instances that the host's lease does not let be started
	Unreadable map[Place]bool  // slots of which Desired says nothing: what runs for them is left as it is
	Containers []engine.Container
	Memory     map[string]Memory
}

// Kind is what an action does.
type Kind int

// The kinds of action, in the order in which they are carried out: taking away comes first.
const (
	Remove  Kind = iota // withdraw, drain, stop and remove
	Rename              // give the canonical name
	Restart             // start a container that exists
	Run                 // pull if needed, create and start
)

func (k Kind) String() string { return [...]string{"remove", "rename", "restart", "run"}[k] }

// Action is one step towards what is desired.
type Action struct {
	Kind      Kind
	Instance  string
	Desired   Desired          // of Rename, Restart and Run
	Container engine.Container // of Remove, Rename and Restart
	Name      string           // of Run and Rename
	Reason    string
}

// Reasons of actions.
const (
	ReasonAssigned    = "assigned here but not running"
	ReasonNotAssigned = "running but not assigned here"
	ReasonDuplicate   = "a second container of the same instance"
	ReasonDead        = "Docker could not remove it before"
	ReasonCurrent     = "became the slot's current instance"
	ReasonDetached    = "is not on network " + engine.Network
)

// Compute compares what is desired with what is there. It returns at most one action for each
// instance that none is under way for, and when to look again because a retry is due (zero if
// none is). The same input gives the same plan.
func Compute(in Input) (actions []Action, wake time.Time) {
	byInstance, extra := sortOut(in.Containers)
	all := append(removals(in, byInstance, extra), steps(in, byInstance)...)
	slices.SortStableFunc(all, func(a, b Action) int { return int(a.Kind) - int(b.Kind) })
	taken := map[string]bool{}
	for _, action := range all {
		memory := in.Memory[action.Instance]
		if memory.Busy || taken[action.Instance] {
			continue
		}
		if due := memory.due(action); !due.After(in.Now) {
			taken[action.Instance] = true
			actions = append(actions, action)
		} else if wake.IsZero() || due.Before(wake) {
			wake = due
		}
	}
	return actions, wake
}

// removals are of what is not desired.
func removals(in Input, byInstance map[string]engine.Container, extra []engine.Container) (all []Action) {
	if !in.Known {
		return nil
	}
	for _, c := range extra {
		all = append(all, Action{Kind: Remove, Instance: c.Instance, Container: c, Reason: ReasonDuplicate})
	}
	for _, id := range slices.Sorted(maps.Keys(byInstance)) {
		if _, wanted := in.Desired[id]; !wanted && !in.Unreadable[Place{byInstance[id].Ref, byInstance[id].Slot}] {
			all = append(all, Action{Kind: Remove, Instance: id, Container: byInstance[id], Reason: ReasonNotAssigned})
		}
	}
	return all
}

// steps are the next actions for what is desired.
func steps(in Input, byInstance map[string]engine.Container) (all []Action) {
	names := map[string]bool{}
	for _, c := range in.Containers {
		names[c.Name] = true
	}
	for _, id := range slices.Sorted(maps.Keys(in.Desired)) {
		c, exists := byInstance[id]
		if exists && !in.Memory[id].Detached.IsZero() {
			if in.Known && in.Desired[id].Invalid == "" {
				all = append(all, Action{Kind: Remove, Instance: id, Desired: in.Desired[id], Container: c, Reason: ReasonDetached})
			}
			continue
		}
		action, ok := step(in.Desired[id], c, exists, names, in.Memory[id])
		if !ok || action.starts() && in.Leaseless[id] {
			continue
		}
		if action.Kind == Restart && in.Memory[id].Halted {
			action.Reason = ReasonAssigned // it did not end by itself
		}
		if !in.Memory[id].due(action).After(in.Now) {
			names[action.Name] = true
		}
		all = append(all, action)
	}
	return all
}

// step is the next action for a desired instance, ok is false if it is as it should be.
func step(d Desired, c engine.Container, exists bool, names map[string]bool, m Memory) (a Action, ok bool) {
	a = Action{Instance: d.Instance, Desired: d, Container: c}
	if d.Invalid != "" && (!exists || c.Status == engine.StatusDead) {
		return a, false // it could not be made anew
	}
	switch {
	case !exists:
		a.Kind, a.Name, a.Reason = Run, d.Spec.Name, ReasonAssigned
		if d.Next || names[a.Name] {
			a.Name = d.startName()
		}
	case c.Status == engine.StatusDead || c.Status == engine.StatusRemoving:
		a.Kind, a.Reason = Remove, ReasonDead
	case c.Status == engine.StatusCreated:
		a.Kind, a.Reason = Restart, ReasonAssigned
	case c.Status == engine.StatusExited:
		a.Kind, a.Reason = Restart, exitReason(c)
	case !d.Next && c.Name != d.Spec.Name && !names[d.Spec.Name]:
		a.Kind, a.Name, a.Reason = Rename, d.Spec.Name, ReasonCurrent
	case c.Status == engine.StatusRunning && m.Unhealthy != "":
		a.Kind, a.Reason = Restart, m.Unhealthy
	default:
		return a, false
	}
	return a, !m.Over || !a.starts()
}

// sortOut finds the container of each instance. Of several it takes the one that runs, else the
// newest; the others are extra.
func sortOut(containers []engine.Container) (byInstance map[string]engine.Container, extra []engine.Container) {
	byInstance = make(map[string]engine.Container, len(containers))
	ordered := slices.Clone(containers)
	slices.SortFunc(ordered, func(a, b engine.Container) int {
		switch {
		case a.Status == engine.StatusRunning && b.Status != engine.StatusRunning:
			return -1
		case a.Status != engine.StatusRunning && b.Status == engine.StatusRunning:
			return 1
		case !a.Created.Equal(b.Created):
			return b.Created.Compare(a.Created)
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, c := range ordered {
		if _, taken := byInstance[c.Instance]; taken {
			extra = append(extra, c)
			continue
		}
		byInstance[c.Instance] = c
	}
	return byInstance, extra
}
