package schedule

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// revise finds the revision that all instances are to be of. It makes a new one if the manifest
// asks for other containers than the newest, and keeps in the newest what needs no new container.
func (c *container) revise() {
	c.target = c.app.latest()
	if c.manifest != nil {
		c.follow()
	}
	if c.app.revisions[c.target].Verdict == state.VerdictFailed {
		c.target = c.lastGood(c.target)
	}
}

// follow has the newest revision be the manifest's. One that failed, or whose update is paused, is not
// tried again before the manifest is written again.
func (c *container) follow() {
	wanted := newRevision(c.manifest, c.versions, c.app.manifest.modified)
	latest, found := c.app.revisions[c.target]
	switch rewritten := latest.Modified != wanted.Modified; {
	case !found, latest.Hash != wanted.Hash, rewritten && (latest.Verdict == state.VerdictFailed || c.resumed()):
		c.target++
		wanted.Created = c.now.UTC()
		wanted.Image = c.resolvedBefore(wanted)
		c.app.revisions[c.target] = revision{Revision: wanted, parsed: c.manifest}
		c.change(Change{Kind: Create, Key: c.ref.RevisionKey(c.target), Value: marshal(wanted), Reason: state.ReasonRevision})
	case rewritten:
		latest.Manifest, latest.Modified = wanted.Manifest, wanted.Modified
		latest.parsed = c.manifest
		c.writeRevision(c.target, latest, "the manifest changed, but needs no other containers")
	}
}

// resumed tells whether the manifest was written since the update to the newest revision was paused.
func (c *container) resumed() bool {
	r := c.app.rollout
	return r != nil && r.Phase == state.RolloutPaused && r.To == c.target && c.app.manifest.modified > r.modified
}

// newRevision is the revision that an accepted manifest makes.
func newRevision(m *manifest.Manifest, versions manifest.Versions, modified uint64) state.Revision {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // a Manifest holds nothing that cannot be marshalled
	}
	return state.Revision{Manifest: data, Versions: versions, Hash: m.RevisionHash(versions), Modified: modified}
}

// resolvedBefore is what the image was resolved to by a revision of which instances still run and
// that asks for the very same: its number is another, but its containers stay.
func (c *container) resolvedBefore(r state.Revision) string {
	for _, s := range c.app.slots {
		for _, a := range s.assignments() {
			if same := c.app.revisions[a.Revision]; same.Hash == r.Hash && same.Image != "" {
				return same.Image
			}
		}
	}
	return ""
}

// lastGood is the newest revision before one that failed which was healthy, else the one that the
// update began from; the failed one itself if there is none.
func (c *container) lastGood(failed int) int {
	best := 0
	for n, r := range c.app.revisions {
		if n < failed && r.Verdict == state.VerdictHealthy && r.parsed != nil {
			best = max(best, n)
		}
	}
	if best == 0 && c.app.rollout != nil {
		from := c.app.rollout.From
		if c.app.rollout.To != failed {
			from = c.app.rollout.To // it is being gone back to already
		}
		r := c.app.revisions[from] // a job is nothing to go back to
		if from < failed && r.Verdict != state.VerdictFailed && r.parsed != nil && r.parsed.Mode != manifest.JobMode {
			best = from
		}
	}
	if best == 0 {
		return failed
	}
	return best
}

// writeRevision changes a revision that is there.
func (c *container) writeRevision(n int, r revision, reason string) {
	before := c.app.revisions[n]
	c.app.revisions[n] = r
	change := Change{Kind: Swap, Key: c.ref.RevisionKey(n), Value: marshal(r.Revision), PrevIndex: before.modified, Reason: reason}
	if before.modified == 0 { // made in this very pass
		change.Kind = Create
	}
	c.change(change)
}

// settleImage keeps what the first host found the target's image to be, so that all hosts run one.
func (c *container) settleImage() {
	r := c.app.revisions[c.target]
	if r.Image != "" {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.p.observed[c.ref])) {
		if o := c.p.observed[c.ref][id]; o.Image != "" && c.same(o.Revision, c.target) {
			r.Image = o.Image
			c.writeRevision(c.target, r, "host "+o.Host+" has the image")
			return
		}
	}
}

// imageWait says why an instance of the target may not be started yet, "" if it may: until the
// image's name is resolved, one host alone finds out what it means. If it cannot, another may.
func (c *container) imageWait() string {
	if c.app.revisions[c.target].Image != "" {
		return ""
	}
	for _, n := range c.app.slotNumbers() {
		for _, a := range c.app.slots[n].assignments() {
			if c.current(a) && !c.p.lost(a.Host) && !c.silent(a) && c.gaveUp(a) == "" {
				return "waits until host " + a.Host + " has found out what image " + c.spec.Image + " is"
			}
		}
	}
	return ""
}

// silent tells whether an instance runs on a host that does not say what its image is, as earlier
// versions of the conductor don't: it holds up nobody.
func (c *container) silent(a *state.Assignment) bool {
	o, seen := c.seen(a)
	return seen && o.Image == "" && (o.Phase == state.PhaseRunning || o.Phase == state.PhaseHealthy)
}

// forgetRevisions removes old revisions that no slot uses. Those kept are the newest, and the
// newest that was healthy.
func (c *container) forgetRevisions() {
	used := map[int]bool{c.target: true}
	for _, s := range c.app.slots {
		for _, a := range s.assignments() {
			used[a.Revision] = true
		}
	}
	for _, o := range c.p.observed[c.ref] {
		used[o.Revision] = true
	}
	latest := c.app.latest()
	used[c.lastGood(latest+1)] = true
	for _, n := range slices.Sorted(maps.Keys(c.app.revisions)) {
		if n < latest-c.spec.RevisionHistory && !used[n] {
			c.change(Change{Kind: Delete, Key: c.ref.RevisionKey(n), Reason: "old and not used any more"})
		}
	}
}
