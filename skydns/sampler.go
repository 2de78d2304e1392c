package skydns

import "sync/atomic"

// sampler chooses the queries that are logged.
type sampler struct {
	every uint64 // one in so many; 0: none
	n     atomic.Uint64
}

func (s *sampler) take() bool { return s.every > 0 && s.n.Add(1)%s.every == 0 }
