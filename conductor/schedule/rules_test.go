package schedule_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// hold notes that a container has its volumes: never may two have one that only one may write.
func (c *cluster) hold(i *instance) {
	for _, volume := range i.volumes() {
		if other, held := c.holders[volume]; held {
			c.fail("%s slot %d: %s on %s begins, and %s has its volume %s", i.ref, i.slot, i.id, i.on.IP, other, volume)
		}
		c.holders[volume] = i.id + " on " + i.on.IP
	}
}

func (c *cluster) release(i *instance) {
	for _, volume := range i.volumes() {
		delete(c.holders, volume)
	}
}

// volumes are those of the instance that only one container may write at a time.
func (i *instance) volumes() (all []string) {
	for _, v := range i.spec.Volumes {
		if v.AccessMode != manifest.SingleWriter || v.ReadOnly {
			continue
		}
		name := fmt.Sprintf("%s/%d/%s", i.ref, i.slot, v.Name)
		if !v.Movable() {
			name += " of " + i.on.IP
		}
		all = append(all, name)
	}
	return all
}

// checkSlot checks what the scheduler is about to make of a slot.
func (c *cluster) checkSlot(change schedule.Change) {
	k, ok := state.ParseAppKey(change.Key)
	if !ok || k.Kind != "hosts" || k.Item == 0 {
		return
	}
	var to state.Slot
	if change.Kind != schedule.Delete {
		if err := json.Unmarshal([]byte(change.Value), &to); err != nil {
			c.fail("%s: %v", change.Key, err)
		}
	}
	from := c.slots[k.Ref][k.Item]
	if to.Next != nil && to.Current == nil {
		c.fail("%s has a next instance and no current one", change.Key)
	}
	c.checkDropped(k, from, to)
	c.checkAdded(k, from, to)
}

func named(s state.Slot, id string) bool {
	return slices.ContainsFunc(assignmentsOf(s), func(a *state.Assignment) bool { return a.Instance == id })
}

// checkAdded: nothing is assigned to a host that must not have it, and not more at once than allowed.
func (c *cluster) checkAdded(k state.AppKey, from, to state.Slot) {
	for _, a := range assignmentsOf(to) {
		if named(from, a.Instance) {
			continue
		}
		if c.used[a.Instance] {
			c.fail("%s: instance %s was in a slot before", k.Ref, a.Instance)
		}
		c.used[a.Instance] = true
		if a.Generation <= from.Generation || a.Generation > to.Generation || to.Next != nil && to.Current.Generation >= to.Next.Generation {
			c.fail("%s slot %d: generation %d after %d", k.Ref, k.Item, a.Generation, from.Generation)
		}
		if o, seen := c.observed(cmp.Or(from.Current, a)); seen && a == to.Current && from.Current != nil && o.Phase != "" {
			c.fail("%s slot %d: %s takes the place of %s without having been next", k.Ref, k.Item, a.Instance, from.Current.Instance)
		}
		if why := c.unsuitable(k.Ref, k.Item, a, cmp.Or(predecessor(a, to), from.Current)); why != "" {
			c.fail("%s slot %d: %s is assigned to %s (%s): %s", k.Ref, k.Item, a.Instance, a.Host, a.Reason, why)
		}
		if a == to.Next && !urgent(a) && !c.stale {
			c.checkSurge(k, a)
		}
	}
}

// predecessor is what an assignment is next to in its slot, nil for nothing.
func predecessor(a *state.Assignment, s state.Slot) *state.Assignment {
	if a == s.Next {
		return s.Current
	}
	return nil
}

// unsuitable says why a host must not get an instance of a slot, beside or after one that is there
// before, "" if it may. It counts everything anew, unlike the planner.
func (c *cluster) unsuitable(ref state.Ref, slot int, a, before *state.Assignment) string {
	h, known := c.hosts[a.Host]
	inPlace := before != nil && before.Host == a.Host
	m := c.spec(ref, a.Revision)
	switch {
	case !known || h.Liveness != schedule.Alive:
		return "it is not alive"
	case h.Condition != "":
		return h.Condition
	case h.Availability != "" && !c.pinned(ref, slot, m, a.Host) && m.Mode != manifest.Global:
		return string(h.Availability)
	case c.pinned(ref, slot, m, a.Host):
		return ""
	}
	why := c.mismatch(ref, m.Manifest, h, inPlace, slot)
	if newest := c.newest(ref); why != "" && newest != nil {
		why = c.mismatch(ref, newest, h, inPlace, slot)
	}
	return why
}

// pinned tells whether a host has the slot's own volumes.
func (c *cluster) pinned(ref state.Ref, slot int, m spec, ip string) bool {
	for _, v := range m.Volumes {
		if v.AccessMode == manifest.MultiWriter || v.Movable() {
			continue
		}
		if _, there := c.keys[state.VolumeKey(ip, v.DockerName(ref.App, ref.Name, slot))]; there {
			return true
		}
		if v.AccessMode == manifest.SingleHost {
			for _, s := range c.slots[ref] {
				for _, a := range assignmentsOf(s) {
					if a.Host == ip {
						return true
					}
				}
			}
		}
	}
	return false
}

// mismatch is what keeps one more instance from a host by what its manifest asks for.
func (c *cluster) mismatch(ref state.Ref, m *manifest.Manifest, h *member, inPlace bool, slot int) string {
	for _, condition := range m.Constraints {
		label, _ := strings.CutPrefix(condition.Attribute, "host.labels.")
		if (h.Labels[label] == condition.Value) != (condition.Operator == manifest.Equal) {
			return "constraint " + condition.String()
		}
	}
	if c.failing > 0 || c.mixed {
		return "" // where others are was planned in the same pass, and may not have been written
	}
	copies, cpus := 0, m.Resources.Reserve.CPUs
	company, ports := map[state.Ref]bool{}, map[int]bool{}
	for _, p := range c.assigned[h.IP] {
		if p.ref == ref && p.slot == slot || c.leaves(p) {
			continue
		}
		if p.ref == ref {
			copies++
		}
		company[p.ref] = true
		other := c.spec(p.ref, p.Revision)
		cpus += other.Resources.Reserve.CPUs
		for _, s := range other.Services {
			ports[s.HostPort] = true
		}
		if slices.Contains(other.Apart, ref.Name) && !inPlace {
			return "apart from " + p.ref.Name
		}
	}
	for _, s := range m.Services {
		if s.HostPort != 0 && ports[s.HostPort] {
			return "host port"
		}
	}
	for _, name := range m.Near {
		if other := (state.Ref{App: ref.App, Name: name}); !company[other] && !h.runs(other) {
			return "near " + name
		}
	}
	for _, name := range m.Apart {
		if company[state.Ref{App: ref.App, Name: name}] {
			return "apart from " + name
		}
	}
	switch {
	case inPlace:
	case m.MaxPerHost > 0 && copies >= m.MaxPerHost:
		return "max_per_host"
	case m.Resources.Reserve.CPUs > 0 && cpus > h.CPUs:
		return "cpus"
	}
	return ""
}

// runs tells whether a host has a container, if only of a slot that was emptied for its successor.
func (m *member) runs(ref state.Ref) bool {
	for _, i := range m.has {
		if i.ref == ref {
			return true
		}
	}
	return false
}

// alone tells whether a host has no slot of what a container must be near to.
func (c *cluster) alone(ref state.Ref, m *manifest.Manifest, h *member) bool {
	return slices.ContainsFunc(m.Near, func(name string) bool { return c.copies(state.Ref{App: ref.App, Name: name}, h.IP) == 0 })
}

// leaves tells whether an instance is being replaced: a slot counts once, where it will be.
func (c *cluster) leaves(p place) bool {
	s := c.slots[p.ref][p.slot]
	return s.Next != nil && s.Next.Instance != p.Instance
}

// newest is the manifest that was accepted last, nil if none was.
func (c *cluster) newest(ref state.Ref) *manifest.Manifest {
	if n := c.latest(ref); n > 0 {
		return c.spec(ref, n).Manifest
	}
	return nil
}

// latest is the newest revision, 0 if there is none.
func (c *cluster) latest(ref state.Ref) int {
	for n := 200; n > 0; n-- {
		if _, there := c.keys[ref.RevisionKey(n)]; there {
			return n
		}
	}
	return 0
}

// checkSurge: beside the wanted instances there are only so many that are to replace one.
func (c *cluster) checkSurge(k state.AppKey, a *state.Assignment) {
	m := c.newest(k.Ref)
	most := max(m.Update.MaxParallel, c.spec(k.Ref, a.Revision).Update.MaxParallel) + m.Update.Canary
	surge, given := 1, 0
	for n, s := range c.slots[k.Ref] {
		if n == k.Item || s.Next == nil || urgent(s.Next) {
			continue
		}
		if h, known := c.hosts[s.Next.Host]; !known || h.Liveness != schedule.Alive {
			continue
		}
		if o, seen := c.observed(s.Next); seen && o.GaveUp {
			given++
			continue
		}
		surge++
	}
	if surge > most {
		c.fail("%s: %d instances are to replace others, %d may (%d gave up)", k.Ref, surge, most, given)
	}
}

// urgent tells whether an instance replaces one of which nothing is left that works.
func urgent(a *state.Assignment) bool {
	return a.Reason == state.ReasonHostLost || a.Reason == state.ReasonStuck
}

// observed is what the scheduler can know of an instance.
func (c *cluster) observed(a *state.Assignment) (o state.Observed, seen bool) {
	node, there := c.keys[state.InstanceKey(a.Host, a.Instance)]
	if !there {
		return o, false
	}
	if err := json.Unmarshal([]byte(node.Value), &o); err != nil {
		c.fail("%s: %v", node.Key, err)
	}
	h, known := c.hosts[a.Host]
	return o, known && h.Liveness != schedule.Lost
}

// checkDropped: what is healthy and assigned stays until its successor is healthy, unless it has to go.
func (c *cluster) checkDropped(k state.AppKey, from, to state.Slot) {
	for _, a := range assignmentsOf(from) {
		if named(to, a.Instance) {
			continue
		}
		if o, seen := c.observed(a); !seen || o.Phase != state.PhaseHealthy {
			continue
		}
		if a == from.Next && to.Current != nil {
			if o, seen := c.observed(to.Current); seen && o.Phase == state.PhaseHealthy {
				continue
			}
		}
		if a == from.Current && to.Current != nil && from.Next != nil && to.Current.Instance == from.Next.Instance {
			if o, seen := c.observed(to.Current); seen && o.Phase == state.PhaseHealthy {
				continue
			}
		}
		if !c.mayGo(k, a) {
			c.fail("%s slot %d: drops %s on %s, which is healthy, for %+v", k.Ref, k.Item, a.Instance, a.Host, to)
		}
	}
}

// mayGo tells whether an instance is not wanted where it is, or must be gone before its successor starts.
func (c *cluster) mayGo(k state.AppKey, a *state.Assignment) bool {
	node, there := c.keys[k.Ref.ManifestKey()]
	if !there {
		return true
	}
	m, err := manifest.ParseFor(k.Ref.App, k.Ref.Name, []byte(node.Value))
	if err != nil {
		m = c.newest(k.Ref)
	}
	h, target := c.hosts[a.Host], c.spec(k.Ref, c.target(k.Ref))
	unfit := c.mismatch(k.Ref, m, h, true, k.Item) != "" || c.alone(k.Ref, m, h)
	switch {
	case m.Mode == manifest.JobMode, c.spec(k.Ref, a.Revision).Mode == manifest.JobMode:
		return true
	case m.Mode == manifest.Global && target.Mode == manifest.Replicated && k.Item > target.Scale:
		return true // rolled back to when it was another mode
	case m.Mode == manifest.Global, c.spec(k.Ref, a.Revision).Mode == manifest.Global:
		return h.Availability == state.Drained || unfit || m.StopFirst() || m.Mode == manifest.Replicated || c.copies(k.Ref, a.Host) > 1
	case m.Mode == manifest.Replicated && k.Item > c.scale(k.Ref, m):
		return true
	}
	return m.StopFirst() || c.spec(k.Ref, a.Revision).StopFirst() || target.StopFirst()
}

// target is the revision that is being updated to.
func (c *cluster) target(ref state.Ref) int {
	var r state.Rollout
	if json.Unmarshal([]byte(c.keys[ref.RolloutKey()].Value), &r) != nil {
		return c.latest(ref)
	}
	return r.To
}

// scale is how many slots are wanted.
func (c *cluster) scale(ref state.Ref, m *manifest.Manifest) int {
	var s state.Scale
	if node, there := c.keys[ref.ScaleKey()]; there && json.Unmarshal([]byte(node.Value), &s) == nil {
		return min(s.Scale, m.Scale) // whichever counts: what is above both may go
	}
	return m.Scale
}

// checkStatuses: of each slot that is not where it should be a person is told why.
func (c *cluster) checkStatuses() {
	c.t.Helper()
	for ref, slots := range c.slots {
		s := c.status(ref)
		if s.More > 0 || c.keys[ref.StatusKey()].Value == "" {
			continue
		}
		shown := map[int]state.SlotStatus{}
		for _, slot := range s.Slots {
			shown[slot.Slot] = slot
			if slot.Phase != state.PhaseHealthy && slot.Phase != state.PhaseStarting && slot.Phase != state.PhaseEnded && slot.Reason == "" {
				c.fail("%s: nobody is told why slot %d is %s: %+v", ref, slot.Slot, slot.Phase, s)
			}
			if slot.Host == "" && slot.Reason == "" {
				c.fail("%s: nobody is told why slot %d has no host: %+v", ref, slot.Slot, s)
			}
			current := slots[slot.Slot].Current
			if current != nil && slot.Next == "" && s.Revision > 0 && slot.Reason == "" && slot.Phase == state.PhaseHealthy &&
				c.spec(ref, current.Revision).hash != c.spec(ref, s.Revision).hash && c.spec(ref, s.Revision).Mode != manifest.JobMode {
				c.fail("%s: nobody is told why slot %d is still of revision %d: %+v", ref, slot.Slot, current.Revision, s)
			}
		}
		if _, there := c.keys[ref.ManifestKey()]; !there {
			continue
		}
		for n := range s.Wanted {
			if _, found := shown[n+1]; !found && s.Wanted == len(slots) && s.Revision > 0 && len(s.Errors) == 0 &&
				c.spec(ref, s.Revision).Mode == manifest.Replicated && s.Revision == c.latest(ref) {
				c.fail("%s: slot %d is not in the status: %+v", ref, n+1, s)
			}
		}
	}
}

// somebodyGaveUp tells whether an instance did so recently: a planner remembers hosts where one gave up,
// and one that has just begun does not.
func (c *cluster) somebodyGaveUp() bool { return c.now.Sub(c.gaveUpAt) < 31*time.Minute }

// checkRest: everything is alive and nothing more happens, so what is wanted is there, as balanced as
// may be, and what is not says why.
func (c *cluster) checkRest() {
	c.t.Helper()
	for _, ref := range c.refs() {
		if _, there := c.keys[ref.ManifestKey()]; !there {
			c.fail("%s was removed, and left %v", ref, slices.Collect(maps.Keys(c.slots[ref])))
		}
		s := c.status(ref)
		if s.State == "" {
			c.fail("%s has no status", ref)
		}
		if s.Revision == 0 && len(s.Errors) > 0 {
			continue
		}
		c.checkPlaced(ref, s)
	}
	c.checkBalance()
}

// checkPlaced: what found no host could not be anywhere.
func (c *cluster) checkPlaced(ref state.Ref, s state.Status) {
	c.t.Helper()
	m := c.spec(ref, s.Revision)
	if m.Mode == manifest.JobMode || len(m.DependsOn) > 0 {
		return
	}
	good := !strings.Contains(m.Image, "sick") && !strings.Contains(m.Image, "missing")
	for _, slot := range s.Slots {
		if slot.Host != "" || !good {
			continue
		}
		for ip, h := range c.hosts {
			free := h.Availability == "" && h.Condition == "" && c.mismatch(ref, m.Manifest, h, false, slot.Slot) == ""
			if free && s.Rollout == nil && !c.holdsVolumes(ref, slot.Slot, m) && m.Mode == manifest.Replicated {
				c.fail("%s: slot %d could be on %s: %+v", ref, slot.Slot, ip, slot)
			}
		}
	}
	if good && m.Mode == manifest.Replicated && s.Rollout == nil && len(s.Errors) == 0 && s.Healthy+len(unplaced(s)) != s.Wanted {
		c.fail("%s: %d of %d are healthy: %+v", ref, s.Healthy, s.Wanted, s)
	}
}

func (c *cluster) holdsVolumes(ref state.Ref, slot int, m spec) bool {
	for ip := range c.hosts {
		if c.pinned(ref, slot, m, ip) {
			return true
		}
	}
	return false
}

func unplaced(s state.Status) (all []state.SlotStatus) {
	for _, slot := range s.Slots {
		if slot.Phase == state.PhaseFailed && (slot.Host == "" || strings.Contains(slot.Reason, "no suitable host")) {
			all = append(all, slot)
		}
	}
	return all
}

// checkBalance: no single move that is allowed would even out the totals of two hosts.
func (c *cluster) checkBalance() {
	c.t.Helper()
	if c.somebodyGaveUp() {
		return // and is avoided for a while
	}
	for from, h := range c.hosts {
		for _, p := range c.assigned[from] {
			m := c.spec(p.ref, p.Revision)
			if h.Availability != "" || m.Mode != manifest.Replicated || m.StopFirst() || c.keys[p.ref.RolloutKey()].Value != "" || c.holdsVolumes(p.ref, p.slot, m) ||
				len(m.Near)+len(m.Apart)+len(m.Affinities)+len(m.Spread) > 0 || c.needed(p.ref) {
				continue
			}
			if o, seen := c.observed(&p.Assignment); !seen || o.Phase != state.PhaseHealthy {
				continue
			}
			for to, h := range c.hosts {
				if c.total(from) >= c.total(to)+2 && h.Availability == "" && h.Condition == "" && c.copies(p.ref, to) < c.copies(p.ref, from) &&
					c.mismatch(p.ref, m.Manifest, h, false, p.slot) == "" {
					c.fail("%d instances on %s and %d on %s: %s slot %d could move", c.total(from), from, c.total(to), to, p.ref, p.slot)
				}
			}
		}
	}
}

// total is how many slots count on a host.
func (c *cluster) total(ip string) (n int) {
	for _, p := range c.assigned[ip] {
		if !c.leaves(p) {
			n++
		}
	}
	return n
}

// needed tells whether another container asks to be near this one.
func (c *cluster) needed(ref state.Ref) bool {
	for other := range c.slots {
		if m := c.newest(other); m != nil && slices.Contains(m.Near, ref.Name) {
			return true
		}
	}
	return false
}

func (c *cluster) copies(ref state.Ref, ip string) (n int) {
	for _, p := range c.assigned[ip] {
		if p.ref == ref {
			n++
		}
	}
	return n
}
