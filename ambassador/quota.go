package ambassador

import (
	"net/netip"
	"sync"
)

// quota limits how much of something each source may have at a time.
type quota struct {
	limit int

	mu    sync.Mutex
	taken map[netip.Addr]int
}

func newQuota(limit int) *quota {
	return &quota{limit: limit, taken: make(map[netip.Addr]int)}
}

// take counts one for the source until free is called. ok is false if it has its share already.
func (q *quota) take(source netip.Addr) (free func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken[source] >= q.limit {
		return nil, false
	}
	q.taken[source]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.taken[source]--; q.taken[source] == 0 {
			delete(q.taken, source)
		}
	}, true
}
