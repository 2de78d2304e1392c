package store

import (
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-etcd/etcd"
	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// directories are those in which nothing is, neither a key nor a directory. That there are those
// above them, and above keys, goes without saying.
type directories = iradix.Tree[struct{}]

// IsEmptyDir says whether key is a directory in which nothing is. Only the snapshots of a mirror
// from NewMirrorWithDirs know.
func (s Snapshot) IsEmptyDir(key string) bool {
	if s.empty == nil {
		return false
	}
	_, is := s.empty.Get([]byte(key))
	return is
}

// EmptyDirs yields dir, or those below it, of which IsEmptyDir is true, sorted. It takes dir as All does.
func (s Snapshot) EmptyDirs(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		dir = strings.TrimSuffix(dir, "/")
		if s.empty == nil || s.IsEmptyDir(dir) && !yield(dir) {
			return
		}
		below := s.empty.Root().Iterator()
		below.SeekPrefix([]byte(dir + "/"))
		for key, _, ok := below.Next(); ok && yield(string(key)); key, _, ok = below.Next() {
		}
	}
}

// dirsAfter is the empty directories after an event, of which the leaves are here already, and
// those that are no longer among them or have come to them.
func (s Snapshot) dirsAfter(dir string, node *etcd.Node, removed bool) (empty *directories, changed []string) {
	txn := s.empty.Txn()
	drop := func(key string) {
		if _, was := txn.Delete([]byte(key)); was {
			changed = append(changed, key)
		}
	}
	left := node.Key // what may be empty now
	if removed {
		left = path.Dir(node.Key)
		for key := range s.EmptyDirs(node.Key) {
			drop(key)
		}
	} else {
		for above := path.Dir(node.Key); inDir(dir, above); above = path.Dir(above) {
			drop(above)
		}
	}
	if (removed || node.Dir) && inDir(dir, left) && !exists(s.leaves.Root(), left) && !exists(txn.Root(), left) {
		txn.Insert([]byte(left), struct{}{})
		changed = append(changed, left)
	}
	return txn.Commit(), changed
}

// dirsReplaced is the given directories, sorted, in the place of the snapshot's, and those that
// are only in one of the two.
func (s Snapshot) dirsReplaced(dirs []string) (empty *directories, changed []string) {
	txn := s.empty.Txn()
	for dir := range s.EmptyDirs("") {
		if _, still := slices.BinarySearch(dirs, dir); !still {
			txn.Delete([]byte(dir))
			changed = append(changed, dir)
		}
	}
	for _, dir := range dirs {
		if _, was := txn.Insert([]byte(dir), struct{}{}); !was {
			changed = append(changed, dir)
		}
	}
	return txn.Commit(), changed
}

// inDir says whether key is dir or below it, but not the root: that is always there.
func inDir(dir, key string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return key != "/" && (key == dir || strings.HasPrefix(key, dir+"/"))
}

// exists says whether the tree has key or something below it.
func exists[T any](tree *iradix.Node[T], key string) bool {
	if _, is := tree.Get([]byte(key)); is {
		return true
	}
	at := tree.Iterator()
	at.SeekPrefix([]byte(key + "/"))
	_, _, is := at.Next()
	return is
}

// appendEmpty appends the empty ones of the directories that a listing has. What etcd does not
// list counts as nothing.
func appendEmpty(empty []string, n *etcd.Node) []string {
	if n.Dir && len(n.Nodes) == 0 {
		return append(empty, n.Key)
	}
	for _, child := range n.Nodes {
		empty = appendEmpty(empty, child)
	}
	return empty
}
