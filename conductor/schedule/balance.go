package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// balance plans the next move towards hosts that carry equal numbers of containers. There is one
// at a time on the whole cluster, start-first, and none while a host is missing or a slot is being
// emptied: what is moved now might have to move again. It starts from what this pass has planned, and adds to that.
func (p *Planner) balance(now time.Time) (moves bool) {
	if len(p.moving) > 0 || p.braked {
		return false
	}
	for _, host := range p.hosts {
		if host.Liveness == Missing {
			return false
		}
	}
	var index map[string][]placement.Candidate
	refs := map[*placement.Demand]state.Ref{}
	move, found := p.places.Improve(func(ip string) []placement.Candidate {
		if index == nil {
			index = p.movable(refs)
		}
		return index[ip]
	})
	if found {
		p.move, p.mover = &move, refs[move.Demand]
		p.planOne(p.mover, now)
		p.reconsider()
	}
	return found
}

// movable are the instances that may be moved, by host.
func (p *Planner) movable(refs map[*placement.Demand]state.Ref) map[string][]placement.Candidate {
	index := map[string][]placement.Candidate{}
	for ref := range p.apps {
		a := p.planning(ref)
		c := newContainer(p, ref, a, time.Time{})
		c.target = p.targets[ref]
		c.spec = a.revisions[c.target].parsed
		if c.spec == nil || a.manifest == nil || a.rollout != nil || c.spec.Mode != manifest.Replicated || c.spec.StopFirst() || len(p.avoid[ref]) > 0 {
			continue
		}
		c.demand = p.demandOf(ref, c.spec)
		refs[c.demand] = ref
		for n, s := range a.slots {
			if s.Current != nil && s.Next == nil && !s.unreadable && c.current(s.Current) && c.healthy(s.Current) && len(c.holders(n)) == 0 {
				index[s.Current.Host] = append(index[s.Current.Host], placement.Candidate{Demand: c.demand, Slot: n})
			}
		}
	}
	for _, candidates := range index {
		slices.SortFunc(candidates, func(a, b placement.Candidate) int {
			return cmp.Or(compareRefs(refs[a.Demand], refs[b.Demand]), cmp.Compare(b.Slot, a.Slot))
		})
	}
	return index
}

// moves tells whether a slot of the container moves for the sake of balance, or is being emptied: its
// host has one container less soon.
func (c *container) moves() bool {
	for n, s := range c.app.slots {
		if s.Next != nil && s.Next.Reason == state.ReasonBalance || !s.wanted() && c.occupied(n) {
			return true
		}
	}
	return false
}
