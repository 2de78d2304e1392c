package schedule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// States of a container as a whole.
const (
	StateRefused   = "refused" // the manifest, and nothing runs from an earlier one
	StateStopped   = "stopped" // scale 0
	StatePending   = "pending"
	StateUpdating  = "updating"
	StateRunning   = "running"
	StateScheduled = "scheduled" // a job whose first run is to come
	StateStopping  = "stopping"  // scale 0, and something still runs
	StatePaused    = "paused"    // an update failed, and waits for another manifest
)

// A job that does not run has the phase of its last run as its state.

// report writes the container's status if it is not what is stored.
func (c *container) report() {
	status := state.Status{Wanted: len(c.wanted), Revision: c.target, Errors: c.errors, Waiting: waiting(c.unmet)}
	wanted := map[int]bool{}
	for _, n := range c.wanted {
		wanted[n] = true
	}
	if c.spec != nil && c.spec.Mode == manifest.JobMode {
		c.reportRuns(&status, wanted)
	}
	changing := false
	for _, n := range slices.Sorted(maps.Keys(c.allSlots(wanted))) {
		slot := c.app.slots[n]
		if slot.Current == nil && slot.Next == nil && !wanted[n] {
			if c.occupied(n) {
				status.Slots = append(status.Slots, state.SlotStatus{Slot: n, Phase: state.PhaseStopping, Reason: "not wanted any more"})
			}
			continue
		}
		s := c.reportSlot(n, slot.Slot)
		switch s.Phase {
		case state.PhaseHealthy:
			status.Healthy++
			status.Running++
		case state.PhaseRunning:
			status.Running++
		}
		changing = changing || slot.Next != nil || slot.Current != nil && !c.current(slot.Current) && !c.absent(n)
		status.Slots = append(status.Slots, s)
	}
	if c.app.rollout != nil {
		r := c.app.rollout.Rollout
		status.Rollout, status.Reason = &r, r.Reason
		changing = true
	} else if latest := c.app.revisions[c.app.latest()]; latest.Verdict == state.VerdictFailed {
		status.Reason = fmt.Sprintf("revision %d failed: %s", c.app.latest(), latest.Reason)
	}
	status.State = c.stateOf(status, changing)
	shorten(&status)
	if value := marshal(status); value != c.app.status {
		c.change(Change{Kind: Put, Key: c.ref.StatusKey(), Value: value, Reason: "what was observed changed"})
	}
}

// allSlots are the numbers of slots that are there or wanted.
func (c *container) allSlots(wanted map[int]bool) map[int]bool {
	all := maps.Clone(wanted)
	for n := range c.app.slots {
		all[n] = true
	}
	return all
}

// waiting counts why slots found no host.
func waiting(unmet map[int]string) (texts []string) {
	counts := map[string]int{}
	for _, why := range unmet {
		counts[why]++
	}
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		texts = append(texts, fmt.Sprintf("%d: %s", counts[why], why))
	}
	return texts
}

// reportRuns says how the job's last run is.
func (c *container) reportRuns(status *state.Status, wanted map[int]bool) {
	ids := c.runIDs()
	for _, id := range c.active() {
		status.Wanted++
		if r := c.app.runs[id]; r.Phase == state.RunRunning {
			wanted[r.Slot] = true
		}
	}
	maps.Copy(wanted, c.queued)
	var said []string
	if len(ids) > 0 {
		id := ids[len(ids)-1]
		said = append(said, reportRun(id, c.app.runs[id].Run))
	}
	if !c.nextRun.IsZero() {
		said = append(said, "next run at "+c.nextRun.UTC().Format(time.RFC3339))
	}
	status.Run = strings.Join(said, "; ")
}

func reportRun(id string, r state.Run) string {
	text := "run " + id + ": " + string(r.Phase)
	if r.ExitCode != nil {
		text += fmt.Sprintf(", exit code %d", *r.ExitCode)
	}
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	return text
}

// maxSlots is how many slots a status shows: a value in etcd is limited, and so is a reader.
const maxSlots = 200

// shorten leaves healthy slots out of a status that has too many.
func shorten(s *state.Status) {
	if len(s.Slots) <= maxSlots {
		return
	}
	slices.SortStableFunc(s.Slots, func(a, b state.SlotStatus) int {
		return cmp.Compare(healthyLast(a), healthyLast(b))
	})
	s.More = len(s.Slots) - maxSlots
	s.Slots = s.Slots[:maxSlots]
}

func healthyLast(s state.SlotStatus) int {
	if s.Phase == state.PhaseHealthy && s.Next == "" {
		return 1
	}
	return 0
}

func (c *container) stateOf(s state.Status, changing bool) string {
	switch {
	case len(s.Errors) > 0 && s.Revision == 0:
		return StateRefused
	case s.Rollout != nil && s.Rollout.Phase == state.RolloutPaused:
		return StatePaused
	case changing:
		return StateUpdating
	case s.Wanted == 0 && c.app.lastRun().Phase != "":
		return string(c.app.lastRun().Phase)
	case s.Wanted == 0 && !c.nextRun.IsZero():
		return StateScheduled
	case s.Wanted == 0 && len(s.Slots) == 0:
		return StateStopped
	case s.Wanted == 0:
		return StateStopping
	case s.Healthy < s.Wanted:
		return StatePending
	}
	return StateRunning
}

func (c *container) reportSlot(n int, slot state.Slot) state.SlotStatus {
	s := state.SlotStatus{Slot: n, Phase: state.PhaseStarting, Reason: c.reasons[n]}
	if slot.Current == nil {
		if s.Phase = state.PhaseFailed; s.Reason == "" {
			s.Reason = "waits for a host"
		}
		return s
	}
	s.Host, s.Instance, s.Revision = slot.Current.Host, slot.Current.Instance, slot.Current.Revision
	s.Phase, s.Reason = c.reportInstance(slot.Current, s.Reason)
	if o, seen := c.seen(slot.Current); seen {
		s.Restarts, s.ExitCode, s.Log = o.Restarts, o.ExitCode, o.Log
	}
	if slot.Next != nil {
		phase, reason := c.reportInstance(slot.Next, "")
		s.Next = fmt.Sprintf("revision %d on %s: %s", slot.Next.Revision, slot.Next.Host, phase)
		if !updates(slot.Next) {
			s.Next = fmt.Sprintf("revision %d on %s, %s: %s", slot.Next.Revision, slot.Next.Host, because(slot.Next.Reason), phase)
		}
		if reason != "" {
			s.Next += " (" + reason + ")"
		}
	}
	return s
}

// because makes a reason of an assignment part of a sentence.
func because(reason string) string {
	if strings.HasPrefix(reason, "to ") {
		return reason
	}
	return "as " + reason
}

// reportInstance is how an assigned instance is, with why it is not healthy.
func (c *container) reportInstance(a *state.Assignment, reason string) (state.Phase, string) {
	switch {
	case c.p.lost(a.Host):
		return state.PhaseFailed, orElse(reason, "host "+a.Host+" is lost")
	case c.p.hosts[a.Host].Liveness == Missing:
		return state.PhaseFailed, orElse(reason, "host "+a.Host+" was not heard of for a moment")
	}
	o, seen := c.seen(a)
	if !seen {
		if condition := c.p.hosts[a.Host].Condition; condition != "" {
			return state.PhaseStarting, condition
		}
		return state.PhaseStarting, "waits for its host"
	}
	return o.Phase, orElse(o.Reason, reason)
}

func orElse(text, other string) string {
	if text != "" {
		return text
	}
	return other
}
