package schedule

import (
	"fmt"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// dependency is the container that a dependency names.
func dependency(ref state.Ref, d manifest.Dependency) state.Ref {
	if app, name, found := strings.Cut(d.Container, "/"); found {
		return state.Ref{App: app, Name: name}
	}
	return state.Ref{App: ref.App, Name: d.Container}
}

// dependencyWait says which container the first start waits for, "" if none.
func (c *container) dependencyWait() string {
	for _, d := range c.spec.DependsOn {
		on := dependency(c.ref, d)
		relate(c.p.waiting, on, c.ref, true)
		if !c.p.met(on, d.Condition) {
			return joinReasons(fmt.Sprintf("waits until %s is %s", on, d.Condition), c.p.unmet(on, d.Condition))
		}
	}
	return ""
}

// met tells whether a container has come as far as a dependency asks.
func (p *Planner) met(ref state.Ref, condition string) bool {
	if condition == manifest.DependencyCompleted {
		a := p.planning(ref)
		return a != nil && a.lastRun().Phase == state.RunCompleted
	}
	for _, o := range p.observed[ref] {
		running := o.Phase == state.PhaseRunning || o.Phase == state.PhaseHealthy
		if !p.lost(o.Host) && (o.Phase == state.PhaseHealthy || running && condition == manifest.DependencyStarted) {
			return true
		}
	}
	return false
}

// unmet says more of why a container has not come so far, "" if there is nothing to say.
func (p *Planner) unmet(ref state.Ref, condition string) string {
	a := p.planning(ref)
	switch {
	case a == nil || a.manifest == nil:
		return "there is no such container"
	case condition != manifest.DependencyCompleted:
		return ""
	case a.lastRun().Phase != "":
		return "its last run is " + string(a.lastRun().Phase)
	}
	return ""
}

func joinReasons(why, more string) string {
	if more == "" {
		return why
	}
	return why + ": " + more
}

// dependencies are the containers that one depends on.
func dependencies(ref state.Ref, m *manifest.Manifest) (all []state.Ref) {
	for _, d := range m.DependsOn {
		all = append(all, dependency(ref, d))
	}
	return all
}

// neighbours are the containers that must be on the host before one is placed there.
func neighbours(ref state.Ref, m *manifest.Manifest) (all []state.Ref) {
	for _, name := range m.Near {
		all = append(all, state.Ref{App: ref.App, Name: name})
	}
	return all
}

// refuseCircles refuses a manifest by which the container would wait for itself.
func (c *container) refuseCircles() {
	before := len(c.errors)
	if circle := c.p.circle(c.ref, dependencies); circle != "" {
		c.errors = append(c.errors, "depends_on: "+circle)
	}
	if circle := c.p.circle(c.ref, neighbours); circle != "" {
		c.errors = append(c.errors, "near: "+circle)
	}
	set(c.p.circular, c.ref, len(c.errors) > before)
}

// circle says how a container waits for itself, "" if it does not. Of the containers on a circle
// the manifest that was written last is to blame: it alone is refused.
func (p *Planner) circle(ref state.Ref, awaited func(state.Ref, *manifest.Manifest) []state.Ref) string {
	path := []string{ref.String()}
	seen := map[state.Ref]bool{}
	var follow func(at state.Ref) bool
	follow = func(at state.Ref) bool {
		a := p.apps[at]
		if a == nil || a.manifest == nil || a.manifest.parsed == nil || a.manifest.modified > p.apps[ref].manifest.modified {
			return false
		}
		for _, on := range awaited(at, a.manifest.parsed) {
			if !seen[on] {
				seen[on] = true
				path = append(path, on.String())
				if on == ref || follow(on) {
					return true
				}
				path = path[:len(path)-1]
			}
		}
		return false
	}
	if follow(ref) {
		return "goes round in a circle: " + strings.Join(path, " -> ")
	}
	return ""
}
