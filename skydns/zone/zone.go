// Package zone is the records as a tree of names. It is pure: no I/O, no clock, no logger.
package zone

import (
	"github.com/miekg/dns"
)

// Zone is what all names mean at one moment. It does not change, so that any number of
// goroutines may read it without a lock: a change makes another zone, which shares with this one
// all names but the changed one and those above it. The zero Zone has no names.
type Zone struct {
	root *Node // of the name "."; nil if there are no records
}

// maxName is the length of the longest name on the wire, and maxLabels how many labels it has.
const (
	maxName   = 255
	maxLabels = 127
)

// Find returns the node of a domain name, whatever its case, nil if there is no such name. A name
// exists if a record stands at it or below it.
func (z *Zone) Find(name string) *Node {
	var wire [maxName]byte
	end, err := dns.PackDomainName(dns.Fqdn(name), wire[:], 0, nil, false)
	if err != nil {
		return nil
	}
	return z.FindWire(wire[:end])
}

// FindWire is Find for a name as it stands in a packet, not compressed and with its final zero.
// It does not allocate.
func (z *Zone) FindWire(name []byte) *Node {
	var starts [maxLabels]uint8 // of the labels
	count := 0
	for at := 0; ; {
		if at >= len(name) || at >= maxName || count == maxLabels {
			return nil
		}
		size := int(name[at])
		if size == 0 {
			break
		}
		if size > maxLabel || at+size >= len(name) {
			return nil
		}
		starts[count] = uint8(at)
		count++
		at += 1 + size
	}
	if count == 0 {
		return nil // "." is no record's
	}
	node := z.root
	for count--; count >= 0 && node != nil; count-- {
		start := int(starts[count])
		var lower [maxLabel]byte
		label := lower[:name[start]]
		for i, c := range name[start+1:][:len(label)] {
			label[i] = lowerByte(c)
		}
		node = find(node.children, label)
	}
	return node
}

// Root is the node of ".", nil if there are no records.
func (z *Zone) Root() *Node { return z.root }

// Len is the number of records.
func (z *Zone) Len() int {
	if z.root == nil {
		return 0
	}
	return z.root.Len()
}
