package zone

import (
	"math/bits"
	"slices"
)

// branch is a persistent map from labels to nodes: a hash trie, in which to change one of n
// entries copies log n small arrays, however many names a directory has. There is no library that
// does only this; the radix tree of package store would do, at three times the memory for a
// directory of few names, which most are. The nil branch is empty.
type branch struct {
	taken uint32 // of the 32 places, those that have a slot
	slots []slot // in the order of their places
}

// slot is a node, or a branch of those whose hashes have begun alike.
type slot struct {
	node   *Node
	branch *branch
}

const (
	placeBits = 5
	hashBits  = 64
)

// text is a label that need not be copied to be looked up.
type text interface{ ~string | ~[]byte }

// hashOf is FNV-1a, which is quick on short strings. The hash must be the same in every process,
// so that equal records come in the same order.
func hashOf[L text](label L) uint64 {
	hash := uint64(0xcbf29ce484222325)
	for i := range len(label) {
		hash = (hash ^ uint64(label[i])) * 0x100000001b3
	}
	return hash ^ hash>>32 // the lower bits are used first, and the higher ones are the better
}

// place is where in a branch at the given depth, in bits, a hash belongs: its bit, and the index
// of its slot. Where the hash is used up, all share one place.
func (b *branch) place(hash uint64, depth int) (bit uint32, index int) {
	bit = 1 << (hash >> depth & (1<<placeBits - 1))
	return bit, bits.OnesCount32(b.taken & (bit - 1))
}

// find returns the node of a label, nil if there is none.
func find[L text](b *branch, label L) *Node {
	if b == nil {
		return nil
	}
	hash := hashOf(label)
	for depth := 0; depth < hashBits; depth += placeBits {
		bit, index := b.place(hash, depth)
		if b.taken&bit == 0 {
			return nil
		}
		s := b.slots[index]
		if s.branch == nil {
			if s.node.label == string(label) {
				return s.node
			}
			return nil
		}
		b = s.branch
	}
	for _, s := range b.slots {
		if s.node.label == string(label) {
			return s.node
		}
	}
	return nil
}

// with returns the branch with n put in, in the place of the one with its label if there is one.
func (b *branch) with(hash uint64, depth int, n *Node) *branch {
	if b == nil {
		b = &branch{}
	}
	if depth >= hashBits { // all that is here has the same hash
		others := slices.DeleteFunc(slices.Clone(b.slots), func(s slot) bool { return s.node.label == n.label })
		return &branch{slots: append(others, slot{node: n})}
	}
	bit, index := b.place(hash, depth)
	if b.taken&bit == 0 {
		return &branch{taken: b.taken | bit, slots: slices.Insert(slices.Clone(b.slots), index, slot{node: n})}
	}
	changed := &branch{taken: b.taken, slots: slices.Clone(b.slots)}
	switch s := &changed.slots[index]; {
	case s.branch != nil:
		s.branch = s.branch.with(hash, depth+placeBits, n)
	case s.node.label == n.label:
		s.node = n
	default:
		var below *branch
		below = below.with(hashOf(s.node.label), depth+placeBits, s.node)
		*s = slot{branch: below.with(hash, depth+placeBits, n)}
	}
	return changed
}

// without returns the branch without the node of the label, nil if it was the only one. A branch
// is as if the nodes that it has were the first that it ever had: the order must not tell of others.
func (b *branch) without(hash uint64, depth int, label string) *branch {
	if b == nil {
		return nil
	}
	if depth >= hashBits {
		rest := slices.DeleteFunc(slices.Clone(b.slots), func(s slot) bool { return s.node.label == label })
		return orNil(&branch{slots: rest})
	}
	bit, index := b.place(hash, depth)
	if b.taken&bit == 0 {
		return b
	}
	s := b.slots[index]
	if s.branch == nil {
		if s.node.label != label {
			return b
		}
		return orNil(&branch{taken: b.taken &^ bit, slots: slices.Delete(slices.Clone(b.slots), index, index+1)})
	}
	below := s.branch.without(hash, depth+placeBits, label)
	if below == s.branch {
		return b
	}
	changed := &branch{taken: b.taken, slots: slices.Clone(b.slots)}
	changed.slots[index] = slot{branch: below}
	if only := below.only(); only != nil {
		changed.slots[index] = slot{node: only}
	}
	return changed
}

func orNil(b *branch) *branch {
	if len(b.slots) == 0 {
		return nil
	}
	return b
}

// only is the node of a branch that has no other, else nil.
func (b *branch) only() *Node {
	if len(b.slots) != 1 {
		return nil
	}
	return b.slots[0].node
}

// each yields all nodes until yield returns false, which it then returns.
func (b *branch) each(yield func(*Node) bool) bool {
	if b == nil {
		return true
	}
	for _, s := range b.slots {
		if s.branch != nil && !s.branch.each(yield) || s.node != nil && !yield(s.node) {
			return false
		}
	}
	return true
}
