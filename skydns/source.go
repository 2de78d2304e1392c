package skydns

import (
	"context"
	"iter"

	"github.com/dokkaa/dokkaa/skydns/zone"
)

// Source is where the records come from: a copy of their directory that follows the store.
type Source interface {
	// Run keeps the copy until ctx ends.
	Run(ctx context.Context) error
	// Hint says that the copy may have changed. Hints may be lost or come for nothing.
	Hint() <-chan struct{}
	// Snapshot is the copy now.
	Snapshot() Snapshot
}

// Snapshot is a Source's copy of the records at one moment.
type Snapshot struct {
	Entries iter.Seq[zone.Entry]
	Index   uint64 // of the store; another one means other entries
	Listed  bool   // the entries were read, be it long ago
	Known   bool   // the copy follows the store now
	Err     error  // why it does not
}
