package schedule

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// container is the planning of one container.
type container struct {
	p   *Planner
	ref state.Ref
	app *app // a copy, which becomes what it is to be
	now time.Time

	manifest *manifest.Manifest // as accepted, nil if it was refused
	versions manifest.Versions  // of the secrets and configs that it uses
	errors   []string           // why it was refused

	target  int                // revision that all instances are to be of, 0 if there is none
	spec    *manifest.Manifest // of the target
	demand  *placement.Demand  // of the target
	frozen  string             // why no instance is replaced by one of the target, "" if they are
	wanted  []int              // slots
	hosts   map[int]string     // the host that a slot is for, of a global container
	queued  map[int]bool       // slots that runs of a job wait for
	nextRun time.Time          // of a job, zero if none is to come

	move    *placement.Move // of an instance to another host, to balance them; nil for none
	changes plan
	reasons map[int]string // why a slot is not where it should be
	emptied map[int]string // why a slot is emptied in this pass
	unmet   map[int]string // the part of them that no host was found for
	full    string         // why there is no host for one more slot, "" if that is not known
	left    bool           // a host that has no slot of a global container has, or had but for others, room for one
	placed  []placed
	wake    time.Time
}

// again goes on from what was planned.
func (c *container) again() *container {
	next := newContainer(c.p, c.ref, c.app, c.now)
	next.changes = c.changes.without(c.ref.StatusKey())
	return next
}

func newContainer(p *Planner, ref state.Ref, a *app, now time.Time) *container {
	return &container{p: p, ref: ref, app: a.clone(), now: now, reasons: map[int]string{}, unmet: map[int]string{}, emptied: map[int]string{}, hosts: map[int]string{}, queued: map[int]bool{}}
}

// plan brings the container one step nearer to what its manifest says.
func (c *container) plan() {
	if c.app.manifest == nil {
		c.remove()
		return
	}
	c.accept()
	c.settleScale()
	c.revise()
	if c.target == 0 { // nothing was ever accepted
		c.report()
		return
	}
	c.judge()
	c.spec = c.app.revisions[c.target].parsed
	if c.spec == nil {
		c.reasons[0] = fmt.Sprintf("this scheduler does not understand revision %d", c.target)
		c.stay()
		c.report()
		return
	}
	c.demand = c.p.demandOf(c.ref, c.spec)
	c.p.accompany(c.ref, c.spec)
	c.count()
	if c.spec.Mode == manifest.JobMode {
		c.endRollout("a job is not updated")
		c.runJob()
	} else {
		c.fill()
		c.conclude()
	}
	c.forgetRevisions()
	c.report()
}

// demandOf compiles what a revision asks of hosts, once for each manifest.
func (p *Planner) demandOf(ref state.Ref, m *manifest.Manifest) *placement.Demand {
	if p.demands[ref] == nil {
		p.demands[ref] = map[*manifest.Manifest]*placement.Demand{}
	}
	d := p.demands[ref][m]
	if d == nil {
		d = placement.NewDemand(ref, m)
		p.demands[ref][m] = d
	}
	return d
}

// demandAt is what an assigned instance asks of its host.
func (c *container) demandAt(a *state.Assignment) *placement.Demand { return c.demandFor(a.Revision) }

// demandFor is what an instance of a revision asks of its host: the revision's own demand, unless it
// needs no other container than the target.
func (c *container) demandFor(revision int) *placement.Demand {
	m := c.app.revisions[revision].parsed
	if m == nil || c.same(revision, c.target) {
		m = c.app.revisions[c.target].parsed
	}
	if m == nil {
		return nil
	}
	return c.p.demandOf(c.ref, m)
}

// as plans by the manifest of a revision, that of the target if it asks for the same, until back is
// called.
func (c *container) as(revision int) (back func()) {
	if c.same(revision, c.target) {
		revision = c.target
	}
	spec, demand := c.spec, c.demand
	if m := c.app.revisions[revision].parsed; m != nil {
		c.spec, c.demand = m, c.p.demandOf(c.ref, m)
	}
	return func() { c.spec, c.demand = spec, demand }
}

// accompany notes whose places matter to a container, nil for nobody's.
func (p *Planner) accompany(ref state.Ref, m *manifest.Manifest) {
	if p.neighbours[ref] == m {
		return
	}
	note := func(m *manifest.Manifest, matters bool) {
		if m == nil {
			return
		}
		for _, name := range slices.Concat(m.Near, m.Apart) {
			other := dependency(ref, manifest.Dependency{Container: name})
			relate(p.company, other, ref, matters)
		}
	}
	note(p.neighbours[ref], false)
	note(m, true)
	if p.neighbours[ref] = m; m == nil {
		delete(p.neighbours, ref)
	}
}

// remove takes everything away after the user removed the manifest: slots are vacated, their
// keys go when their instances are gone, and then all the rest.
func (c *container) remove() {
	c.target = c.app.latest()
	for _, n := range c.app.slotNumbers() {
		c.vacate(n)
	}
	if len(c.app.slots) > 0 {
		c.app.rollout = nil // nobody waits for that any more
		c.report()
		return
	}
	const reason = "the manifest was removed"
	for _, id := range slices.Sorted(maps.Keys(c.app.runs)) { // before the revisions that they are named by
		c.change(Change{Kind: Delete, Key: c.ref.RunKey(id), Reason: reason})
	}
	for _, n := range slices.Sorted(maps.Keys(c.app.revisions)) {
		c.change(Change{Kind: Delete, Key: c.ref.RevisionKey(n), Reason: reason})
	}
	for key, there := range map[string]bool{c.ref.RolloutKey(): c.app.rollout != nil} {
		if there {
			c.change(Change{Kind: Delete, Key: key, Reason: reason})
		}
	}
	if c.app.promoted != 0 {
		c.change(Change{Kind: Delete, Key: c.ref.PromoteKey(), Reason: reason})
	}
	if c.app.scale != nil {
		c.change(Change{Kind: Delete, Key: c.ref.ScaleKey(), Reason: reason})
	}
	if c.app.restarted != 0 {
		c.change(Change{Kind: Delete, Key: c.ref.RestartKey(), Reason: reason})
	}
	if c.app.status != "" {
		c.change(Change{Kind: Delete, Key: c.ref.StatusKey(), Reason: reason})
	}
	for _, dir := range []string{"/hosts", "/revisions", "/runs", ""} {
		c.change(Change{Kind: Prune, Key: c.ref.Dir() + dir, Reason: reason})
	}
	c.change(Change{Kind: Prune, Key: path.Dir(c.ref.Dir()), Reason: reason}) // the app's, if this was its last
}

// count finds which slots are wanted.
func (c *container) count() {
	switch {
	case c.spec.Mode == manifest.Global:
		c.wanted = c.globalSlots()
	case c.spec.Mode == manifest.JobMode:
		c.wanted = nil // by the runs
	default:
		for n := range c.scale() {
			c.wanted = append(c.wanted, n+1)
		}
	}
}

// settleScale finds whether the number that overrides the manifest's still counts. It is for a
// manifest; for a later one it stays if that has the same scale as the one before.
func (c *container) settleScale() {
	override, m := c.app.scale, c.app.manifest
	if override == nil || c.manifest == nil || c.manifest.Mode != manifest.Replicated || !override.unreadable && override.Modified == m.modified {
		return
	}
	was := c.app.revisions[c.app.latest()].parsed
	if !override.unreadable && was != nil && was.Scale == c.manifest.Scale {
		again := state.Scale{Scale: override.Scale.Scale, Modified: m.modified}
		c.change(Change{Kind: Swap, Key: c.ref.ScaleKey(), Value: marshal(again), PrevIndex: override.modified, Reason: "the manifest's scale is as it was"})
		c.app.scale = &scale{Scale: again, modified: override.modified}
		return
	}
	reason := "the manifest has another scale"
	if override.unreadable {
		reason = "it is not a scale"
	}
	c.change(Change{Kind: Delete, Key: c.ref.ScaleKey(), PrevIndex: override.modified, Reason: reason})
	c.app.scale = nil
}

// scale is how many instances are wanted: the manifest's number, or the one that overrides it.
func (c *container) scale() int {
	switch {
	case c.manifest == nil || c.manifest.Mode != manifest.Replicated:
		return c.scaleInForce()
	case c.app.scale != nil:
		return c.app.scale.Scale.Scale
	}
	return c.manifest.Scale
}

// scaleInForce is how many instances are wanted while the manifest says nothing of it: it was
// refused, or it is of another mode and failed.
func (c *container) scaleInForce() int {
	if override := c.app.scale; override != nil && !override.unreadable {
		return override.Scale.Scale
	}
	if m := c.app.revisions[c.app.latest()].parsed; m != nil && m.Mode == manifest.Replicated {
		return m.Scale
	}
	return c.spec.Scale
}

// stay leaves every slot as it is.
func (c *container) stay() {
	for _, n := range c.app.slotNumbers() {
		if c.app.slots[n].wanted() {
			c.wanted = append(c.wanted, n)
		}
	}
}

// seen is what is observed of an assignment's instance.
func (c *container) seen(a *state.Assignment) (Observed, bool) {
	o, found := c.p.observed[c.ref][a.Instance]
	return o, found && o.Host == a.Host && !c.p.lost(a.Host)
}

func (c *container) healthy(a *state.Assignment) bool {
	o, seen := c.seen(a)
	return seen && o.Phase == state.PhaseHealthy
}

func (c *container) steady(a *state.Assignment) bool {
	o, seen := c.seen(a)
	return seen && o.Phase == state.PhaseHealthy && o.Steady
}

// gaveUp says why an instance's host does not expect it to become healthy, "" if it does.
func (c *container) gaveUp(a *state.Assignment) string {
	o, seen := c.seen(a)
	if !seen || !o.GaveUp {
		return ""
	}
	return orElse(o.Reason, "it does not become healthy")
}

// current tells whether an assignment's container is what the target asks for: of that revision,
// or of an earlier one that asked for the same, unless it gave up then.
func (c *container) current(a *state.Assignment) bool {
	return a.Revision == c.target || c.same(a.Revision, c.target) && c.gaveUp(a) == ""
}

func (c *container) same(a, b int) bool {
	return a == b || c.app.revisions[a].Hash != "" && c.app.revisions[a].Hash == c.app.revisions[b].Hash
}

// take counts an instance on a host.
func (c *container) take(d *placement.Demand, host string) {
	if d == nil {
		return // nothing is known of it
	}
	c.p.places.Add(d, host)
	c.placed = append(c.placed, placed{d, host})
}

// leave counts an instance no longer that was counted on a host.
func (c *container) leave(d *placement.Demand, host string) {
	at := placed{d, host}
	c.full = ""
	if i := slices.Index(c.placed, at); i >= 0 {
		c.p.places.Remove(at.demand, at.host)
		c.placed = slices.Delete(c.placed, i, i+1)
	}
}

// wakeAt has the container planned again at a time, if that is to come.
func (c *container) wakeAt(at time.Time) {
	if at.After(c.now) {
		c.wake = earlier(c.wake, at)
	}
}

// write changes a slot key unless it is so already.
func (c *container) write(n int, to state.Slot, reason string) {
	s := c.app.slots[n]
	if !s.unreadable && equalSlots(s.Slot, to) {
		return
	}
	change := Change{Kind: Swap, Key: c.ref.SlotKey(n), Value: marshal(to), PrevIndex: s.modified, Reason: reason}
	if s.modified == 0 {
		change.Kind = Create
	}
	c.change(change)
	s.Slot, s.unreadable = to, false
	c.app.slots[n] = s
}

func equalSlots(a, b state.Slot) bool {
	equal := func(a, b *state.Assignment) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.Generation == b.Generation && a.Host == b.Host && equal(a.Current, b.Current) && equal(a.Next, b.Next)
}

func marshal(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of package state can be marshalled
	}
	return string(data)
}
