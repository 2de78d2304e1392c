package skydns

import (
	"context"
	"iter"
	"slices"

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
	// Changed returns the keys that differ between two snapshots; all says that any may.
	Changed(since, until store.Snapshot) (keys []string, all bool)
}

// entries are the snapshot's keys below dir, as the zone takes them.
func entries(snapshot store.Snapshot, dir string) iter.Seq[zone.Entry] {
	return both(snapshot.All(dir), snapshot.EmptyDirs(dir))
}

// listed are the same of a listing.
func listed(l store.Listing) iter.Seq[zone.Entry] {
	return both(slices.Values(l.Nodes), slices.Values(l.EmptyDirs))
}

func both(leaves iter.Seq[store.Node], emptyDirs iter.Seq[string]) iter.Seq[zone.Entry] {
	return func(yield func(zone.Entry) bool) {
		for n := range leaves {
			if !yield(entry(n)) {
				return
			}
		}
		for dir := range emptyDirs {
			if !yield(emptyDir(dir)) {
				return
			}
		}
	}
}

// changes are what became of the keys by the time of the snapshot.
func changes(snapshot store.Snapshot, keys []string) iter.Seq[zone.Change] {
	return func(yield func(zone.Change) bool) {
		for _, key := range keys {
			change := zone.Change{Entry: zone.Entry{Key: key}, Deleted: true}
			if n, ok := snapshot.Get(key); ok {
				change = zone.Change{Entry: entry(n)}
			} else if snapshot.IsEmptyDir(key) {
				change = zone.Change{Entry: emptyDir(key)}
			}
			if !yield(change) {
				return
			}
		}
	}
}

func entry(n store.Node) zone.Entry {
	return zone.Entry{Key: n.Key, Value: n.Value, TTL: n.TTL, Modified: n.Modified}
}

// emptyDir is the entry of a directory in which nothing is: it has a name, and nothing stands there.
func emptyDir(key string) zone.Entry { return zone.Entry{Key: key, Value: "{}"} }
