package conductor

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	// maxLag is how many events a pass's writes may be ahead of the mirror. etcd remembers 1,000 of
	// them: who misses one, here or on any host, has to read everything again.
	maxLag  = 500
	lagPoll = 2 * time.Millisecond
)

// pacer tells those who write at once for how long, and how fast, they may. It is for concurrent use.
type pacer struct {
	mirror   *store.Mirror // of what is written
	deadline time.Time
	newest   atomic.Uint64 // index of a write
	away     atomic.Bool   // the store cannot be written
}

// wait blocks until there may be another write; it returns false if there may be none.
func (p *pacer) wait(ctx context.Context) bool {
	for {
		if p.away.Load() || ctx.Err() != nil || !time.Now().Before(p.deadline) {
			return false
		}
		if p.newest.Load() <= p.mirror.Snapshot().Index+maxLag {
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(lagPoll):
		}
	}
}

// wrote notes what a write made; nothing is known of where a deletion is.
func (p *pacer) wrote(node store.Node) {
	for {
		newest := p.newest.Load()
		if node.Modified <= newest || p.newest.CompareAndSwap(newest, node.Modified) {
			return
		}
	}
}

// failed notes why a write failed: if that was the store's fault, the others need not try.
func (p *pacer) failed(err error) {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrOutcomeUnknown) {
		p.away.Store(true)
	}
}
