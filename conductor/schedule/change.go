package schedule

import (
	"maps"
	"slices"
)

// plan is what is to be changed of a container, in order: one change of a key at the most.
type plan struct {
	changes []Change
	at      map[string]int // where a key's is
	fresh   bool           // something but the status was added or altered
}

// change adds a change, to what was to be changed of its key already.
func (c *container) change(next Change) {
	p := &c.changes
	next.Ref = c.ref
	i, found := p.at[next.Key]
	if !found {
		if p.at == nil {
			p.at = map[string]int{}
		}
		p.at[next.Key] = len(p.changes)
		p.changes = append(p.changes, next)
		p.fresh = p.fresh || next.Key != c.ref.StatusKey()
		return
	}
	before := p.changes[i]
	made := before.Kind == Create || before.Kind == Put && c.p.apps[c.ref].rollout == nil // of what is put, only that is ever deleted
	if made && next.Kind == Delete {
		c.unchange(next.Key)
		return
	}
	if next = before.then(next); next.Kind != before.Kind || next.Value != before.Value {
		p.changes[i] = next
		p.fresh = p.fresh || next.Key != c.ref.StatusKey()
	}
}

// then is the one change that two after each other come to.
func (c Change) then(next Change) Change {
	switch {
	case c.Kind == Create:
		next.Kind = Create
	case c.Kind == Swap:
		next.PrevIndex = c.PrevIndex
	case c.Kind == Delete && next.Kind == Create && c.PrevIndex != 0:
		next.Kind, next.PrevIndex = Swap, c.PrevIndex
	case c.Kind == Delete && next.Kind == Create:
		next.Kind = Put
	}
	return next
}

// unchange leaves a key as it is stored.
func (c *container) unchange(key string) {
	if _, found := c.changes.at[key]; found {
		c.changes = c.changes.without(key)
		c.changes.fresh = true
	}
}

// without is the same without the change of a key.
func (p plan) without(key string) plan {
	i, found := p.at[key]
	if !found {
		return plan{changes: p.changes, at: p.at}
	}
	left := plan{changes: slices.Delete(slices.Clone(p.changes), i, i+1), at: maps.Clone(p.at)}
	delete(left.at, key)
	for key, at := range left.at {
		if at > i {
			left.at[key] = at - 1
		}
	}
	return left
}
