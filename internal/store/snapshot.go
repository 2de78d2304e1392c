package store

import (
	"iter"
	"strings"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Snapshot is what a mirror held at a moment. It never changes, and costs little to keep. The
// zero Snapshot is that of a mirror that never listed.
type Snapshot struct {
	Index uint64 // of etcd: all writes up to it are in
	// Known says that the mirror was following etcd. A mirror that is no longer keeps what it
	// had: unknown is not empty.
	Known bool
	// Listed says that there is content: the mirror was known at least once.
	Listed bool
	Since  time.Time // when Known became what it is
	Err    error     // why it is not known

	leaves  *iradix.Tree[Node]
	empty   *directories // nil if they do not count
	changes *changes     // of its mirror
	changed uint64       // number of the change that comes after it
}

// NewSnapshot makes a known snapshot of the nodes, for tests of what reads snapshots.
func NewSnapshot(index uint64, nodes ...Node) Snapshot {
	return Snapshot{Index: index, Known: true, Listed: true, Since: time.Now(), leaves: treeOf(nodes)}
}

// Get returns a key. Its TTL is what remained when etcd sent it.
func (s Snapshot) Get(key string) (Node, bool) {
	if s.leaves == nil {
		return Node{}, false
	}
	return s.leaves.Get([]byte(key))
}

// All yields the key dir itself or the leaves below it, sorted by key. A slash at dir's end makes no
// difference: "/apps/a" does not cover "/apps/ab". "" and "/" yield everything.
func (s Snapshot) All(dir string) iter.Seq[Node] {
	return func(yield func(Node) bool) {
		if s.leaves == nil {
			return
		}
		dir = strings.TrimSuffix(dir, "/")
		if n, ok := s.Get(dir); ok && !yield(n) {
			return
		}
		below := s.leaves.Root().Iterator()
		below.SeekPrefix([]byte(dir + "/"))
		for _, n, ok := below.Next(); ok; _, n, ok = below.Next() {
			if !yield(n) {
				return
			}
		}
	}
}

// Len is the number of leaves.
func (s Snapshot) Len() int {
	if s.leaves == nil {
		return 0
	}
	return s.leaves.Len()
}

func treeOf(nodes []Node) *iradix.Tree[Node] {
	txn := iradix.New[Node]().Txn()
	for _, n := range nodes {
		txn.Insert([]byte(n.Key), n)
	}
	return txn.Commit()
}

// after is the snapshot with an event applied that happened to dir, to a key below it, or to a
// directory above it, and the keys that it changed. It fails on an event that it does not know.
func (s Snapshot) after(dir string, event answer) (now Snapshot, keys []string, err error) {
	key := event.node.Key
	removed := false
	txn := s.leaves.Txn()
	switch event.action {
	case "set", "create", "update", "compareAndSwap":
		if !event.node.Dir {
			txn.Insert([]byte(key), newNode(event.node))
			keys = append(keys, key)
		} else if _, was := txn.Delete([]byte(key)); was { // a directory may take a leaf's place
			keys = append(keys, key)
		}
	case "delete", "expire", "compareAndDelete":
		removed = true
		gone := key
		if !inDir(dir, key) {
			gone = "" // dir and all else that is here
		}
		for n := range s.All(gone) {
			keys = append(keys, n.Key)
		}
		for _, key := range keys {
			txn.Delete([]byte(key))
		}
	default:
		return s, nil, errUnknownEvent
	}
	s.leaves = txn.Commit()
	if s.empty != nil {
		var dirs []string
		s.empty, dirs = s.dirsAfter(dir, event.node, removed)
		keys = append(keys, dirs...)
	}
	s.Index = event.node.ModifiedIndex
	return s, keys, nil
}

// replaced is the snapshot's tree with the given leaves in its place, sorted by key, and the keys that
// differ in more than the time that is left to them. What is as before is shared.
func (s Snapshot) replaced(leaves []Node) (tree *iradix.Tree[Node], keys []string) {
	txn := s.leaves.Txn()
	drop := func(n Node) {
		txn.Delete([]byte(n.Key))
		keys = append(keys, n.Key)
	}
	before := s.leaves.Root().Iterator()
	_, old, more := before.Next()
	for _, n := range leaves {
		for ; more && old.Key < n.Key; _, old, more = before.Next() {
			drop(old)
		}
		var was Node
		if more && old.Key == n.Key {
			was = old
			_, old, more = before.Next()
		}
		if was == n {
			continue
		}
		txn.Insert([]byte(n.Key), n)
		if was.TTL = n.TTL; was != n {
			keys = append(keys, n.Key)
		}
	}
	for ; more; _, old, more = before.Next() {
		drop(old)
	}
	return txn.Commit(), keys
}
