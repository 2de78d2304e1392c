package zone

import (
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/dokkaa/dokkaa/skydns/packed"
)

// maxLabel is the length of the longest label of a legal name.
const maxLabel = 63

// Node is a name with all that is below it. It does not change, but for the replies that are kept.
type Node struct {
	label    string    // the name's leftmost, lower-case and not escaped
	records  []*Record // of exactly this name, sorted by key
	children *branch
	count    int // of the records here and below

	replies [packed.Slots]atomic.Pointer[packed.Reply]
}

// Reply is where the reply to one type of question about the name may be kept, if it depends on
// nothing but what is here and below. The node of a later zone does not have it unless it is the
// same.
func (n *Node) Reply(slot int) *atomic.Pointer[packed.Reply] { return &n.replies[slot] }

// Label is the name's leftmost label, lower-case and not escaped. It may be too long for DNS.
func (n *Node) Label() string { return n.label }

// Records are those of exactly this name, sorted by key. There is more than one only where keys
// differ in nothing but their case or have dots. The caller must not change them.
func (n *Node) Records() []*Record { return n.records }

// Leaf says whether there are no names below this one.
func (n *Node) Leaf() bool { return n.children == nil }

// Len is the number of the records here and below.
func (n *Node) Len() int { return n.count }

// Child returns the node of the name with one label more, which must be lower-case and not
// escaped; nil if there is no such name.
func (n *Node) Child(label string) *Node { return find(n.children, label) }

// Children yields the nodes of the names with one label more. The order is the same whenever the
// names are.
func (n *Node) Children() iter.Seq[*Node] {
	return func(yield func(*Node) bool) { n.children.each(yield) }
}

// All yields the records here and below. The order is the same whenever the names are.
func (n *Node) All() iter.Seq[*Record] {
	return func(yield func(*Record) bool) { n.each(yield) }
}

func (n *Node) each(yield func(*Record) bool) bool {
	for _, r := range n.records {
		if !yield(r) {
			return false
		}
	}
	return n.children.each(func(child *Node) bool { return child.each(yield) })
}

// with returns the node with what stands at a key put in or, where r is nil, taken away; nil if
// nothing is left. Labels are those of the key's name that are below the node's, from the right.
func (n *Node) with(labels []string, key string, r *Record) *Node {
	changed := &Node{label: n.label, records: n.records, children: n.children}
	if len(labels) == 0 {
		changed.records = put(n.records, key, r)
		changed.count = n.count - len(n.records) + len(changed.records)
	} else {
		child := find(n.children, labels[0])
		if child == nil {
			child = &Node{label: labels[0]}
		}
		after := child.with(labels[1:], key, r)
		changed.count = n.count - child.count
		if after != nil {
			changed.children = n.children.with(hashOf(after.label), 0, after)
			changed.count += after.count
		} else {
			changed.children = n.children.without(hashOf(child.label), 0, child.label)
		}
	}
	if changed.count == 0 {
		return nil
	}
	return changed
}

// put returns the records with that of the key replaced or, where r is nil, removed.
func put(records []*Record, key string, r *Record) []*Record {
	at, found := slices.BinarySearchFunc(records, key, func(r *Record, key string) int { return strings.Compare(r.Key, key) })
	rest := records[at:]
	if found {
		rest = rest[1:]
	}
	changed := slices.Clone(records[:at:at])
	if r != nil {
		changed = append(changed, r)
	}
	return append(changed, rest...)
}

// find returns the record of the key whose name has the labels, from the right; nil if there is none.
func (n *Node) find(labels []string, key string) *Record {
	for _, label := range labels {
		if n == nil {
			return nil
		}
		n = find(n.children, label)
	}
	if n == nil {
		return nil
	}
	for _, r := range n.records {
		if r.Key == key {
			return r
		}
	}
	return nil
}
