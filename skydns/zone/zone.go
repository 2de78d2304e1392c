// Package zone is the index of the records by name. It is pure: no I/O, no clock, no logger.
package zone

import (
	"strings"

	"github.com/miekg/dns"
)

// Zone is what all names mean at one moment. It does not change, so that any number of
// goroutines may read it without a lock.
type Zone struct {
	// records are sorted by the labels of their names, from the right: the subtree of any name
	// is one stretch of them.
	records  []Record
	subtrees map[string]span // by lower-case name
}

type span struct{ from, to int }

// Lookup returns the records of name and of all names below it, which the caller must not
// change; ok is false if there is no such name. A name may exist without records: see Record.
func (z *Zone) Lookup(name string) (records []Record, ok bool) {
	s, ok := z.subtrees[strings.ToLower(name)]
	return z.records[s.from:s.to:s.to], ok
}

// Len is the number of records.
func (z *Zone) Len() int { return len(z.records) }

// index fills subtrees from names, the lower-case names of the sorted records.
func (z *Zone) index(names []string) {
	z.subtrees = make(map[string]span, 2*len(names))
	for i, name := range names {
		for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
			s, known := z.subtrees[name[off:]]
			if !known {
				s.from = i
			}
			s.to = i + 1
			z.subtrees[name[off:]] = s
		}
	}
}
