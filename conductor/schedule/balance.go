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
	var tenants map[string][]state.Ref
	refs := map[*placement.Demand]state.Ref{}
	move, found := p.places.Improve(func(ip string) []placement.Candidate {
		if tenants == nil {
			tenants = p.tenants()
		}
		return p.movable(ip, tenants[ip], refs)
	})
	if found {
		p.move, p.mover = &move, refs[move.Demand]
		p.planOne(p.mover, now)
		p.reconsider()
	}
	return found
}

// tenants are the containers that have an instance on a host, by host.
func (p *Planner) tenants() map[string][]state.Ref {
	tenants := map[string][]state.Ref{}
	for ref, places := range p.placed {
		for _, at := range places {
			if here := tenants[at.host]; len(here) == 0 || here[len(here)-1] != ref {
				tenants[at.host] = append(here, ref)
			}
		}
	}
	return tenants
}

// movable are the instances on a host that may be moved, of its tenants. It notes whose they are.
func (p *Planner) movable(ip string, tenants []state.Ref, refs map[*placement.Demand]state.Ref) (candidates []placement.Candidate) {
	for _, ref := range tenants {
		a := p.planning(ref)
		if a == nil {
			continue
		}
		c := newContainer(p, ref, a, time.Time{})
		c.target = p.targets[ref]
		c.spec = a.revisions[c.target].parsed
		if c.spec == nil || a.manifest == nil || a.rollout != nil || c.spec.Mode != manifest.Replicated || c.spec.StopFirst() || len(p.avoid[ref]) > 0 {
			continue
		}
		c.demand = p.demandOf(ref, c.spec)
		refs[c.demand] = ref
		for n, s := range a.slots {
			if s.Current != nil && s.Current.Host == ip && s.Next == nil && !s.unreadable && c.current(s.Current) && c.healthy(s.Current) && len(c.holders(n)) == 0 {
				candidates = append(candidates, placement.Candidate{Demand: c.demand, Slot: n})
			}
		}
	}
	slices.SortFunc(candidates, func(a, b placement.Candidate) int {
		return cmp.Or(compareRefs(refs[a.Demand], refs[b.Demand]), cmp.Compare(b.Slot, a.Slot))
	})
	return candidates
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
