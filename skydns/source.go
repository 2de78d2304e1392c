package skydns

import (
	"context"
	"iter"

	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/zone"
)

// Source is where the records come from: a store.Mirror of their directory.
type Source interface {
	// Run keeps the copy until ctx ends.
	Run(ctx context.Context) error
	// Hint says that the copy may have changed. Hints may come for nothing.
	Hint() <-chan struct{}
	// Snapshot is the copy now.
	Snapshot() store.Snapshot
}

// entries are the snapshot's keys below dir, as the zone takes them.
func entries(snapshot store.Snapshot, dir string) iter.Seq[zone.Entry] {
	return func(yield func(zone.Entry) bool) {
		for n := range snapshot.All(dir) {
			if !yield(zone.Entry{Key: n.Key, Value: n.Value, TTL: n.TTL, Modified: n.Modified}) {
				return
			}
		}
	}
}
