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
		return appendAll(nil, base), true // below a service, * is the service
	}
	nodes := []*zone.Node{base}
	for ; last >= 0; last-- {
		nodes = below(nodes, label(name, offsets[last]))
	}
	for _, node := range nodes {
		records = appendAll(records, node)
	}
	return records, true
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

// below returns the nodes that have one label more.
func below(nodes []*zone.Node, label string) []*zone.Node {
	var found []*zone.Node
	for _, node := range nodes {
		if isWildcard(label) {
			for child := range node.Children() {
				found = append(found, child)
			}
		} else if child := node.Child(label); child != nil {
			found = append(found, child)
		}
	}
	return found
}
