package identity

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// What the conductor writes onto the containers that it makes. A manifest cannot.
const (
	labelCluster  = "dokkaa.cluster"  // every container of ours has it
	labelBackends = "dokkaa.backends" // the allowed links: {"10001": "nginx.dummy.skydns.local"}
)

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
