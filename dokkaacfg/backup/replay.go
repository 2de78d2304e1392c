package backup

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/dokkaa/dokkaa/internal/state"
)

// Writer writes keys into an etcd that has none of them, and returns the index of each write.
type Writer interface {
	Create(key, value string) (index uint64, err error)
	// Update changes a key whose last write had the index prev.
	Update(key, value string, prev uint64) (index uint64, err error)
}

// write is one that made a key what it was, or one of two: what made it, and what changed it last.
type write struct {
	Key
	index  uint64 // in the old etcd
	update bool
}

// Replay writes the keys that keep says are wanted, but none with a time to live: those say that
// somebody is there, which they will say again. The keys are made and changed in their old order,
// because who came first can matter; and values that name an index of a key, the manifest's, name
// the new one.
func (b Backup) Replay(to Writer, keep func(Key) bool) error {
	t := translation{}
	made := map[string]uint64{}
	for _, w := range b.writes(keep) {
		var err error
		var index uint64
		value, err := t.value(w.Key)
		if err != nil {
			return err
		}
		if w.update {
			index, err = to.Update(w.Key.Key, value, made[w.Key.Key])
		} else {
			index, err = to.Create(w.Key.Key, value)
		}
		if err != nil {
			return err
		}
		made[w.Key.Key] = index
		t = append(t, pair{w.index, index})
	}
	return nil
}

// writes are in the order in which they were.
func (b Backup) writes(keep func(Key) bool) []write {
	var all []write
	for _, k := range b.Keys {
		if k.TTL > 0 || !keep(k) {
			continue
		}
		all = append(all, write{Key: k, index: k.Created})
		if k.Modified > k.Created {
			all = append(all, write{Key: k, index: k.Modified, update: true})
		}
	}
	slices.SortStableFunc(all, func(a, b write) int { return cmp.Compare(a.index, b.index) })
	return all
}

type pair struct{ before, now uint64 }

// translation has what became of the indexes of the writes so far, in order.
type translation []pair

// index is the new index of an old one, or of the write before it if that is of a key that is no more:
// which of two was later stays true.
func (t translation) index(before uint64) uint64 {
	at, found := slices.BinarySearchFunc(t, before, func(p pair, before uint64) int { return cmp.Compare(p.before, before) })
	switch {
	case found:
		return t[at].now
	case at > 0:
		return t[at-1].now
	}
	return 0
}

// value is the key's value with the new indexes.
func (t translation) value(k Key) (string, error) {
	app, ok := state.ParseAppKey(k.Key)
	if !ok || app.Kind != "scale" && app.Kind != "revisions" {
		return k.Value, nil
	}
	var fields map[string]json.RawMessage
	var modified uint64
	// What cannot be read is as it was: whoever reads it says so.
	if json.Unmarshal([]byte(k.Value), &fields) != nil || json.Unmarshal(fields["modified"], &modified) != nil {
		return k.Value, nil
	}
	fields["modified"] = json.RawMessage(fmt.Sprint(t.index(modified)))
	data, err := json.Marshal(fields)
	if err != nil {
		return "", fmt.Errorf("write %s anew: %w", k.Key, err)
	}
	return string(data), nil
}
