package answer

import (
	"strings"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

func isWildcard(label string) bool { return label == "*" || label == "any" }

func hasWildcard(name string) bool {
	for off, end := 0, false; !end; {
		next, last := dns.NextLabel(name, off)
		if isWildcard(strings.TrimSuffix(name[off:next], ".")) {
			return true
		}
		off, end = next, last
	}
	return false
}

// findAll returns the records of all names that a name with wildcards stands for, and of those
// below them; ok is false if there is not even the name right of the wildcards.
func (s *search) findAll(name string) (records []*zone.Record, ok bool) {
	offsets := dns.Split(name)
	last := len(offsets) - 1
	for !isWildcard(label(name, offsets[last])) {
		last--
	}
	if last == len(offsets)-1 {
		return nil, false // nobody may read everything
	}
	base := s.zone.Find(name[offsets[last+1]:])
	if base == nil {
		return nil, false
	}
	if base.Leaf() {
		return s.collect(nil, base), true // below a service, * is the service
	}
	labels := make([]string, 0, last+1)
	for ; last >= 0; last-- {
		labels = append(labels, label(name, offsets[last]))
	}
	return s.collectBelow(nil, base, labels), true
}

// collectBelow is collect of all nodes that have the labels more, from the right.
func (s *search) collectBelow(records []*zone.Record, node *zone.Node, labels []string) []*zone.Record {
	if len(labels) == 0 {
		return s.collect(records, node)
	}
	if !isWildcard(labels[0]) {
		if child := node.Child(labels[0]); child != nil {
			return s.collectBelow(records, child, labels[1:])
		}
		return records
	}
	for child := range node.Children() {
		if s.partial {
			break
		}
		records = s.collectBelow(records, child, labels[1:])
	}
	return records
}

// label is the label of name that begins at the offset, as the tree has it.
func label(name string, offset int) string {
	end, _ := dns.NextLabel(name, offset)
	text := strings.TrimSuffix(name[offset:end], ".")
	if !strings.Contains(text, `\`) {
		return text
	}
	var wire [64]byte
	n, err := dns.PackDomainName(text+".", wire[:], 0, nil, false)
	if err != nil {
		return text
	}
	return string(wire[1 : n-1])
}
