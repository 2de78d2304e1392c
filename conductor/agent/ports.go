package agent

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/conductor/engine"
)

// portInUse says which fixed port of the host another instance still has, "" if none. The scheduler
// gives a port to one at a time, but the one before may be draining.
func portInUse(containers []engine.Container, d Desired) string {
	for _, port := range slices.Sorted(maps.Values(d.HostPorts)) {
		for _, c := range containers {
			if c.Instance != d.Instance && c.Status.Runs() && hasValue(c.Ports, port) {
				return fmt.Sprintf("waits for host port %d, which instance %s of %s still has", port, c.Instance, c.Ref)
			}
		}
	}
	return ""
}

func hasValue(ports map[int]int, published int) bool {
	for _, port := range ports {
		if port == published {
			return true
		}
	}
	return false
}
