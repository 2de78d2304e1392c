package schedule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// tickFormat is the id of a run by schedule: the time at which it was due, in UTC.
const tickFormat = "20060102t150405z"

// maxTicks is how many ticks that were missed are looked at; only the last of them is run.
const maxTicks = 100_000

// runJob brings the runs of a job one step nearer to their ends. Each has a slot while it runs.
func (c *container) runJob() {
	for _, n := range c.app.slotNumbers() {
		c.reviewRun(n)
	}
	c.findLost()
	c.settleImage()
	c.due()
	for _, id := range c.runIDs() {
		if c.app.runs[id].Phase == state.RunPending {
			c.startRun(id)
		}
	}
	c.forgetRuns()
}

// runIDs are the runs in the order in which they were made.
func (c *container) runIDs() []string { return c.app.runIDs() }

func (a *app) runIDs() []string {
	return slices.SortedFunc(maps.Keys(a.runs), func(x, y string) int {
		return cmp.Or(a.runs[x].Created.Compare(a.runs[y].Created), cmp.Compare(x, y))
	})
}

// lastRun is the newest run that was not skipped.
func (a *app) lastRun() state.Run {
	var last state.Run
	for _, id := range a.runIDs() {
		if r := a.runs[id]; r.Phase != state.RunSkipped {
			last = r.Run
		}
	}
	return last
}

// ended tells whether nothing more comes of a run.
func ended(r state.Run) bool { return r.Phase != state.RunPending && r.Phase != state.RunRunning }

// reviewRun takes in how the run in a slot gets on, and gives up the slot when it has ended.
func (c *container) reviewRun(n int) {
	s := c.app.slots[n]
	if s.unreadable || s.Current == nil || s.Current.Run == "" {
		c.vacate(n)
		return
	}
	id := s.Current.Run
	r, found := c.app.runs[id]
	if !found || ended(r.Run) {
		c.vacate(n)
		return
	}
	o, seen := c.seen(s.Current)
	switch {
	case seen && o.Phase == state.PhaseEnded:
		r.ExitCode, r.Log, r.Reason = o.ExitCode, o.Log, o.Reason
		c.endRun(id, r, n, exitPhase(o))
	case seen && o.GaveUp:
		r.ExitCode, r.Log = o.ExitCode, o.Log
		r.Reason = orElse(o.Reason, "it could not be started")
		c.endRun(id, r, n, state.RunFailed)
	case c.p.lost(s.Current.Host) && c.p.braked:
		c.reasons[n] = "host " + s.Current.Host + " is lost, but so are too many others: nothing is moved"
	case c.p.lost(s.Current.Host) && c.spec.OnHostLoss == manifest.RunFail:
		r.Reason = "host " + s.Current.Host + " was lost"
		c.endRun(id, r, n, state.RunFailed)
	case c.p.lost(s.Current.Host):
		r.Phase, r.Reason = state.RunPending, "host "+s.Current.Host+" was lost"
		c.writeRun(id, r, r.Reason)
		c.vacate(n)
	default:
		c.take(c.demandAt(s.Current), s.Current.Host)
	}
}

// findLost takes in that a run has no slot: the scheduler ended before it made one, or somebody took it
// away. Whether it ran nobody knows.
func (c *container) findLost() {
	for _, id := range c.active() {
		r := c.app.runs[id]
		if at := c.app.slots[r.Slot].Current; r.Phase != state.RunRunning || at != nil && at.Run == id {
			continue
		}
		r.Reason = "its slot was lost"
		if r.Phase = state.RunPending; c.spec.OnHostLoss == manifest.RunFail {
			r.Phase, r.Ended = state.RunFailed, c.now.UTC()
		}
		c.writeRun(id, r, r.Reason)
	}
}

func exitPhase(o Observed) state.RunPhase {
	if o.ExitCode != nil && *o.ExitCode == 0 {
		return state.RunCompleted
	}
	return state.RunFailed
}

// endRun writes how a run ended, before its slot is given up.
func (c *container) endRun(id string, r run, n int, phase state.RunPhase) {
	r.Phase, r.Ended = phase, c.now.UTC()
	c.writeRun(id, r, "the run ended: "+string(phase))
	c.vacate(n)
}

// writeRun changes a run's key, or makes it.
func (c *container) writeRun(id string, r run, reason string) {
	c.app.runs[id] = r
	change := Change{Kind: Swap, Key: c.ref.RunKey(id), Value: marshal(r.Run), PrevIndex: r.modified, Reason: reason}
	if r.modified == 0 {
		change.Kind = Create
	}
	c.change(change)
}

// due makes the run that is due, if one is.
func (c *container) due() {
	if c.spec.Schedule == "" {
		if id := strconv.Itoa(c.target); c.app.runs[id].Phase == "" {
			c.replaceRuns(c.active(), id)
			c.newRun(id, c.now)
		}
		return
	}
	tick, next := c.tick()
	c.wakeAt(next)
	c.nextRun = next
	if tick.IsZero() {
		return
	}
	active, id := c.active(), tick.UTC().Format(tickFormat)
	switch {
	case len(active) == 0 || c.spec.Concurrency == manifest.ConcurrencyAllow:
		c.newRun(id, tick)
	case c.spec.Concurrency == manifest.ConcurrencyReplace:
		c.replaceRuns(active, id)
		c.newRun(id, tick)
	default:
		skipped := state.Run{Phase: state.RunSkipped, Revision: c.target, Created: tick.UTC(), Ended: c.now.UTC(), Reason: "run " + active[0] + " has not ended"}
		c.writeRun(id, run{Run: skipped}, skipped.Reason)
	}
}

// active are the runs that have not ended.
func (c *container) active() (ids []string) {
	for _, id := range c.runIDs() {
		if !ended(c.app.runs[id].Run) {
			ids = append(ids, id)
		}
	}
	return ids
}

// replaceRuns stops runs because another one is due.
func (c *container) replaceRuns(active []string, id string) {
	for _, old := range active {
		r := c.app.runs[old]
		running := r.Phase == state.RunRunning
		r.Phase, r.Ended, r.Reason = state.RunReplaced, c.now.UTC(), "run "+id+" is due"
		c.writeRun(old, r, r.Reason)
		if _, there := c.app.slots[r.Slot]; there && running {
			c.vacate(r.Slot)
		}
	}
}

// tick is the last time that was due since the last run was, zero if none was, and the next one.
func (c *container) tick() (due, next time.Time) {
	last := c.app.revisions[c.target].Created
	for _, r := range c.app.runs {
		if r.Created.After(last) {
			last = r.Created
		}
	}
	for range maxTicks {
		at, err := c.spec.NextRun(last)
		if err != nil || at.IsZero() || at.After(c.now) {
			return due, at
		}
		due, last = at, at
	}
	return due, time.Time{}
}

func (c *container) newRun(id string, created time.Time) {
	if _, there := c.app.runs[id]; there {
		return
	}
	c.writeRun(id, run{Run: state.Run{Phase: state.RunPending, Revision: c.target, Created: created.UTC()}}, "a run is due")
}

// startRun gives a run a slot on a host. Runs that exclude each other all have the first one, and
// with it its volumes.
func (c *container) startRun(id string) {
	n, why := 1, ""
	if c.spec.Concurrency == manifest.ConcurrencyAllow {
		for c.taken(n) || c.queued[n] {
			n++
		}
	} else if c.taken(n) || c.occupied(n) {
		why = "waits until the instance before is gone"
	}
	if why == "" {
		why = c.dependencyWait()
	}
	if why == "" {
		why = c.imageWait()
	}
	if why == "" && c.spec.Fenced() {
		why = c.fenced(n)
	}
	var s state.Slot
	var host string
	if why == "" {
		host, why = c.choose(n, s, state.ReasonRun)
	}
	if host == "" {
		c.reasons[n], c.queued[n] = why, true
		return
	}
	c.take(c.demand, host)
	s.Current = c.assignment(n, &s, host, c.target, state.ReasonRun)
	s.Current.Run = id
	r := c.app.runs[id]
	r.Phase, r.Revision, r.Slot, r.Host, r.Instance, r.Reason = state.RunRunning, c.target, n, host, s.Current.Instance, ""
	r.Attempts++
	c.writeRun(id, r, fmt.Sprintf("a run is due: on %s", host))
	c.write(n, s, state.ReasonRun+": on "+host)
}

// forgetRuns removes the oldest runs that have ended.
func (c *container) forgetRuns() {
	var done []string
	for _, id := range c.runIDs() {
		if ended(c.app.runs[id].Run) && id != strconv.Itoa(c.target) {
			done = append(done, id)
		}
	}
	for len(done) > c.spec.RevisionHistory+1 {
		if c.app.runs[done[0]].modified != 0 {
			c.change(Change{Kind: Delete, Key: c.ref.RunKey(done[0]), Reason: "old"})
		}
		delete(c.app.runs, done[0])
		done = done[1:]
	}
}
