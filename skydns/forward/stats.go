package forward

import "sync/atomic"

// Stats count what a Forwarder did.
type Stats struct {
	Hits       atomic.Uint64 // answered from the fresh entries
	Stale      atomic.Uint64 // answered from those that had expired
	Misses     atomic.Uint64 // had to ask, or to wait for somebody who asked
	Shared     atomic.Uint64 // waited for an answer that another query had asked for
	Asked      atomic.Uint64 // questions put to the nameservers
	Retries    atomic.Uint64 // attempts that failed
	Prefetches atomic.Uint64
	Failures   atomic.Uint64 // queries that got no answer
}
