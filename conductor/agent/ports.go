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
	for _, port := range slices.SortedFunc(maps.Keys(d.HostPorts), engine.Port.Compare) {
		fixed := engine.Port{Number: d.HostPorts[port], UDP: port.UDP}
		for _, c := range containers {
			if c.Instance != d.Instance && c.Status.Runs() && publishes(c.Ports, fixed) {
				return fmt.Sprintf("waits for host port %d, which instance %s of %s still has", fixed.Number, c.Instance, c.Ref)
			}
		}
	}
	return ""
}

// publishes tells whether one of the ports is published on this one of the host.
func publishes(ports map[engine.Port]int, fixed engine.Port) bool {
	for port, published := range ports {
		if published == fixed.Number && port.UDP == fixed.UDP {
			return true
		}
	}
	return false
}
