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
// at a time on the whole cluster, start-first, and none while a host is missing: what is moved now
// might have to move again. It starts from what this pass has planned, and adds to that.
func (p *Planner) balance(now time.Time, planned []Change) []Change {
	if len(p.moving) > 0 || p.braked {
		return planned
	}
	for _, host := range p.hosts {
		if host.Liveness == Missing {
			return planned
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
	if !found {
		return planned
	}
	ref := refs[move.Demand]
	planned = slices.DeleteFunc(planned, func(c Change) bool { return state.RefOf(c.Key) == ref })
	return append(planned, p.planOne(ref, now, &move)...)
}

// movable are the instances that may be moved, by host.
func (p *Planner) movable(refs map[*placement.Demand]state.Ref) map[string][]placement.Candidate {
	index := map[string][]placement.Candidate{}
	for ref, a := range p.apps {
		if result, planned := p.results[ref]; planned {
			a = result
		}
		c := newContainer(p, ref, a, time.Time{})
		d, compiled := p.demands[ref]
		if !compiled || a.manifest == nil || a.rollout != nil || d.of.Mode != manifest.Replicated || d.of.StopFirst() || p.avoids(ref) {
			continue
		}
		c.spec, c.demand = d.of, d.Demand
		refs[d.Demand] = ref
		for n, s := range a.slots {
			if s.Current != nil && s.Next == nil && !s.unreadable && c.healthy(s.Current) && len(c.holders(n)) == 0 {
				index[s.Current.Host] = append(index[s.Current.Host], placement.Candidate{Demand: d.Demand, Slot: n})
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

// avoids tells whether an instance of the container gave up somewhere a short time ago.
func (p *Planner) avoids(ref state.Ref) bool {
	for at := range p.avoid {
		if at.Ref == ref {
			return true
		}
	}
	return false
}

// moves tells whether a slot of the container moves for the sake of balance.
func (c *container) moves() bool {
	for _, s := range c.app.slots {
		if s.Next != nil && s.Next.Reason == state.ReasonBalance {
			return true
		}
	}
	return false
}
