package schedule

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// An update replaces every instance that is not of the target:
//
//	          ┌── canary, until a person promotes ──┐
//	updating ─┴─────────────────────────────────────┴─▶ done: the target was healthy
//	   │ an instance gave up, or nothing got on
//	   ├─ rollback ──▶ rolling back ──▶ done     ╲ this fails too
//	   └─ pause ─────▶ paused ◀──────────────────╱
//
// All of it is in keys: the verdict of the revision, and the rollout. Another scheduler goes on
// where this one stops.

// judge finds out whether the update under way has failed, and what is done about it.
func (c *container) judge() {
	r := c.app.rollout
	if r == nil {
		return
	}
	if r.Phase == state.RolloutPaused {
		if c.manifest == nil || c.app.manifest.modified < r.modified { // it was not written since
			c.frozen = orElse(r.Reason, "the update is paused")
			return
		}
		c.writeRollout(state.Rollout{From: r.From, To: c.target, Phase: state.RolloutUpdating, Since: c.now.UTC()}, "the manifest was written again")
		return
	}
	if !c.same(r.To, c.target) {
		return // another update began
	}
	spec := c.app.revisions[c.target].parsed
	if spec == nil {
		return
	}
	failure := c.failure(spec)
	switch {
	case failure == "":
	case r.Phase == state.RolloutRollingBack:
		c.pause(fmt.Sprintf("going back to revision %d failed too: %s", c.target, failure))
	case spec.Update.FailureAction == manifest.FailurePause:
		c.pause(failure)
	case spec.Update.FailureAction == manifest.FailureRollback:
		c.rollBack(failure)
		if r := c.app.rollout; r.Phase == state.RolloutRollingBack {
			c.judge() // what is gone back to may be no better
		}
	}
}

// failure says what went wrong with the update to the target, "" if nothing did.
func (c *container) failure(spec *manifest.Manifest) string {
	for _, n := range c.app.slotNumbers() {
		for _, a := range c.app.slots[n].assignments() {
			if c.hindered(a) {
				continue // that is no fault of the revision's
			}
			if why := c.gaveUp(a); why != "" && c.current(a) && (updates(a) || c.begunWith(a)) {
				return fmt.Sprintf("slot %d on host %s: %s", n, a.Host, why)
			}
		}
	}
	deadline := spec.Update.ProgressDeadline.Of()
	if deadline <= 0 || c.app.rollout.Phase == state.RolloutCanary {
		return ""
	}
	if at := c.app.rollout.seen.Add(deadline); at.After(c.now) {
		c.wakeAt(at)
		return ""
	}
	return fmt.Sprintf("no progress for %v%s", deadline, c.blocked())
}

// blocked names the slot that holds an update up, and why, "" if that is not known: one whose new
// instance is not as it should be, or else one that the status says something of.
func (c *container) blocked() string {
	for _, n := range c.app.slotNumbers() {
		for _, a := range c.app.slots[n].assignments() {
			if a.Revision == c.app.rollout.To && !c.steady(a) {
				phase, why := c.reportInstance(a, "")
				return fmt.Sprintf(": slot %d on host %s: %s", n, a.Host, orElse(why, string(phase)))
			}
		}
	}
	var status state.Status
	if json.Unmarshal([]byte(c.app.status), &status) == nil {
		for _, s := range status.Slots {
			if s.Reason != "" {
				return fmt.Sprintf(": slot %d: %s", s.Slot, s.Reason)
			}
		}
	}
	return ""
}

// begunWith tells whether an instance is one more, and was made since the update began.
func (c *container) begunWith(a *state.Assignment) bool {
	r := c.app.rollout
	return a.Reason == state.ReasonNew && a.Revision == r.To && r.Phase != state.RolloutRollingBack
}

// updates tells whether an assignment was made to change the revision.
func updates(a *state.Assignment) bool { return isUpdate(a.Reason) }

func isUpdate(reason string) bool {
	return reason == state.ReasonRevision || reason == state.ReasonRollback
}

// pause leaves every instance at the revision that it has, until the manifest is written again.
func (c *container) pause(reason string) {
	c.frozen = reason
	r := c.app.rollout.Rollout
	r.Phase, r.Since, r.Reason, r.Failures = state.RolloutPaused, c.now.UTC(), reason, r.Failures+1
	c.writeRollout(r, reason)
}

// rollBack makes the last good revision the target. Without one the update is paused: there is
// nothing to go back to.
func (c *container) rollBack(reason string) {
	good := c.lastGood(c.target)
	if good == c.target {
		c.pause(reason)
		return
	}
	failed := c.app.revisions[c.target]
	failed.Verdict, failed.Reason = state.VerdictFailed, reason
	c.writeRevision(c.target, failed, reason)
	c.writeRollout(state.Rollout{From: c.target, To: good, Phase: state.RolloutRollingBack, Since: c.now.UTC(),
		Failures: c.app.rollout.Failures + 1, Reason: fmt.Sprintf("revision %d failed: %s", c.target, reason)}, reason)
	c.target = good
}

// begin writes that there is an update before anything of it is done.
func (c *container) begin() {
	from := 0
	for _, n := range c.wanted {
		if current := c.app.slots[n].Current; current != nil && !c.current(current) && !c.absent(n) {
			from = max(from, current.Revision)
		}
	}
	r := c.app.rollout
	if from == 0 && r != nil {
		from = r.From // what was emptied for another update
	}
	if from == 0 || c.frozen != "" || r != nil && c.same(r.To, c.target) {
		return
	}
	begun := state.Rollout{From: from, To: c.target, Phase: state.RolloutUpdating, Since: c.now.UTC()}
	if failed := c.app.revisions[from]; from > c.target && failed.Verdict == state.VerdictFailed {
		begun.Phase, begun.Reason = state.RolloutRollingBack, fmt.Sprintf("revision %d failed: %s", from, failed.Reason)
	}
	c.writeRollout(begun, orElse(begun.Reason, state.ReasonRevision))
}

// conclude writes how far the update is, and its end.
func (c *container) conclude() {
	present, arrived, healthy := 0, 0, 0
	for _, n := range c.wanted {
		if c.absent(n) {
			continue
		}
		present++
		s := c.app.slots[n].Slot
		switch {
		case s.Current == nil || !c.current(s.Current):
		case s.Next == nil || !updates(s.Next):
			arrived++
			if c.healthy(s.Current) && (c.app.rollout == nil || c.steady(s.Current)) {
				healthy++
			}
		}
	}
	all, r := arrived == present, c.app.rollout
	switch {
	case r != nil && r.Phase == state.RolloutPaused:
	case all && healthy == present && present > 0:
		c.succeed()
	case r != nil && len(c.wanted) == 0:
		c.endRollout("nothing is wanted any more")
	case r != nil:
		c.progress(arrived)
	}
}

// absent tells whether a slot is where a lost host left it. No update waits for it: it becomes what
// the others are when its host is back, or when it is replaced.
func (c *container) absent(n int) bool {
	switch s := c.app.slots[n]; {
	case s.Next != nil:
		return c.p.lost(s.Current.Host) && s.Next.Reason == state.ReasonHostLost && c.current(s.Next)
	case s.Current != nil:
		return c.p.lost(s.Current.Host)
	case s.Host != "":
		return c.p.lost(s.Host)
	}
	host, why := c.pin(n)
	return host == "" && why != ""
}

// await has the update wait for a person while its canaries are healthy.
func (c *container) await() {
	if c.app.rollout == nil || c.frozen != "" {
		return
	}
	r := c.app.rollout.Rollout
	switch waits := c.canariesWait(); {
	case waits && r.Phase == state.RolloutUpdating:
		r.Phase, r.Since = state.RolloutCanary, c.now.UTC()
		r.Reason = fmt.Sprintf("the canaries are healthy: promote revision %d, or write another manifest", c.target)
	case !waits && r.Phase == state.RolloutCanary:
		r.Phase, r.Since, r.Reason = state.RolloutUpdating, c.now.UTC(), ""
	default:
		return
	}
	c.writeRollout(r, orElse(r.Reason, "the canaries are not waited for any more"))
}

// progress writes how far the update got; each step sets its deadline anew.
func (c *container) progress(arrived int) {
	if r := c.app.rollout.Rollout; r.Updated != arrived {
		r.Updated = arrived
		c.writeRollout(r, fmt.Sprintf("%d of %d slots are at revision %d", arrived, len(c.wanted), c.target))
	}
}

// succeed ends the update: all instances are of the target, and healthy.
func (c *container) succeed() {
	if r := c.app.revisions[c.target]; r.Verdict == "" {
		r.Verdict = state.VerdictHealthy
		c.writeRevision(c.target, r, "all its instances are healthy")
	}
	c.endRollout(fmt.Sprintf("all instances are at revision %d", c.target))
}

func (c *container) endRollout(reason string) {
	if c.app.rollout != nil {
		c.change(Change{Kind: Delete, Key: c.ref.RolloutKey(), Reason: reason})
		c.app.rollout = nil
	}
	if c.app.promoted != 0 {
		c.change(Change{Kind: Delete, Key: c.ref.PromoteKey(), PrevIndex: c.app.promoted, Reason: reason})
		c.app.promote, c.app.promoted = "", 0
	}
}

// writeRollout writes the rollout's key, once in a pass.
func (c *container) writeRollout(r state.Rollout, reason string) {
	c.app.rollout = &rollout{Rollout: r, modified: math.MaxUint64, seen: c.now} // later than any manifest
	c.change(Change{Kind: Put, Key: c.ref.RolloutKey(), Value: marshal(r), Reason: reason})
}

// canaries is how many slots are to change first, 0 if a person found them good or none were asked
// for. Going back needs none.
func (c *container) canaries() int {
	if c.app.rollout != nil && c.app.rollout.Phase == state.RolloutRollingBack {
		return 0
	}
	if n, err := strconv.Atoi(c.app.promote); err == nil && n >= c.target {
		return 0
	}
	return c.spec.Update.Canary
}

// canariesWait tells whether all canaries are healthy and wait for a person.
func (c *container) canariesWait() bool {
	good := 0
	for _, n := range c.wanted {
		if c.held(c.app.slots[n].Next) {
			good++
		}
	}
	return good > 0 && good >= min(c.canaries(), len(c.wanted))
}

// held tells whether a next instance is a canary that is good, and waits for a person.
func (c *container) held(next *state.Assignment) bool {
	return next != nil && updates(next) && c.current(next) && c.canaries() > 0 && c.steady(next)
}

// canaryRoom tells whether one more slot may change before a person found the canaries good.
func (c *container) canaryRoom() bool {
	canaries, begun := c.canaries(), 0
	for _, n := range c.wanted {
		if next := c.app.slots[n].Next; next != nil && updates(next) {
			begun++
		}
	}
	return canaries == 0 || begun < canaries
}

// room is how many more slots may begin to change now.
func (c *container) room() int {
	changing := 0
	for _, n := range c.wanted {
		s := c.app.slots[n].Slot
		switch {
		case c.absent(n):
		case s.Next != nil && !urgent(s.Next.Reason) && !c.givenUp(s.Next) && !c.held(s.Next):
			changing++
		case s.Current == nil && s.Generation > 0 && c.stopFirst(): // emptied, to change
			changing++
		case s.Next == nil && s.Current != nil && updates(s.Current) && c.current(s.Current) && c.stopFirst() && !c.steady(s.Current) && !c.givenUp(s.Current):
			changing++
		}
	}
	return c.spec.Update.MaxParallel - changing
}

// givenUp tells whether an instance that gave up is not waited for.
func (c *container) givenUp(a *state.Assignment) bool {
	return c.spec.Update.FailureAction == manifest.FailureContinue && c.gaveUp(a) != ""
}

// stopFirst tells whether an instance must be gone before its successor starts.
func (c *container) stopFirst() bool { return c.spec.StopFirst() }
