package store

import (
	"slices"
	"sync"
)

// changesKept is how many changes of keys a mirror remembers. Who looks more rarely than that has
// to read everything again.
const changesKept = 1 << 14

// Changed returns the keys that were written or deleted after since and up to until, sorted, each
// once; both are snapshots of this mirror. The keys below a deleted directory are among them one
// by one, and so is a key that was written and deleted again in between. What a new list shows to
// be as before has not changed, nor does it count that etcd was away.
//
// all says that the mirror cannot tell: since is from before its first list or not of this mirror,
// or more changed than it remembers. Then any key may have.
func (m *Mirror) Changed(since, until Snapshot) (keys []string, all bool) {
	if !since.Listed || since.changes != &m.changes || until.changes != &m.changes {
		return nil, true
	}
	keys, ok := m.changes.between(since.changed, until.changed)
	if !ok {
		return nil, true
	}
	slices.Sort(keys)
	return slices.Compact(keys), false
}

// changes are the keys that changed last, numbered in the order in which they did.
type changes struct {
	mu   sync.Mutex
	ring []string // change n is at n % changesKept
	end  uint64   // number of the change to come
}

// add returns the number of the change that comes after these.
func (c *changes) add(keys ...string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if len(c.ring) < changesKept {
			c.ring = append(c.ring, key)
		} else {
			c.ring[c.end%changesKept] = key
		}
		c.end++
	}
	return c.end
}

// between returns the changes from number from to before number to. It fails if they are not all
// remembered.
func (c *changes) between(from, to uint64) (keys []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if from > to || c.end-from > changesKept {
		return nil, false
	}
	for n := from; n < to; n++ {
		keys = append(keys, c.ring[n%changesKept])
	}
	return keys, true
}
