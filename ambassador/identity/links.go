package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// What the conductor writes onto the containers that it makes. A manifest cannot.
const (
	labelCluster  = "dokkaa.cluster"  // every container of ours has it
	labelBackends = "dokkaa.backends" // the allowed links: {"10001": "nginx.dummy.skydns.local"}
	labelLinks    = "dokkaa.links"    // what else is to be known of them: {"10001": {"sticky": true}}
)

// newCaller makes the caller of a container with the labels. Where one cannot be read, it has
// nothing of what that one says.
func newCaller(id, name string, labels map[string]string) (*Caller, error) {
	links, err := parseLinks(labels[labelBackends])
	sticky, errOfSticky := parseSticky(labels[labelLinks])
	return &Caller{ID: id, Name: name, Links: links, Sticky: sticky}, errors.Join(err, errOfSticky)
}

// parseLinks reads the label of the links, "" being none.
func parseLinks(label string) (map[int]string, error) {
	if label == "" {
		return nil, nil
	}
	var names map[string]string
	if err := json.Unmarshal([]byte(label), &names); err != nil {
		return nil, fmt.Errorf("parse label %s: %w", labelBackends, err)
	}
	links := make(map[int]string, len(names))
	for key, name := range names {
		port, err := strconv.Atoi(key)
		if err != nil || port < 1 || port > 65535 || name == "" {
			return nil, fmt.Errorf("parse label %s: %q: %q is no link", labelBackends, key, name)
		}
		links[port] = name
	}
	return links, nil
}

// parseSticky reads which links are sticky, "" being none. Of what else stands there a later version knows.
func parseSticky(label string) (map[int]bool, error) {
	if label == "" {
		return nil, nil
	}
	var links map[int]struct{ Sticky bool }
	if err := json.Unmarshal([]byte(label), &links); err != nil {
		return nil, fmt.Errorf("parse label %s: %w", labelLinks, err)
	}
	sticky := make(map[int]bool)
	for port, link := range links {
		if link.Sticky {
			sticky[port] = true
		}
	}
	return sticky, nil
}
