package placement

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Refusals are the numbers of hosts that won't do, by reason. Each host counts once.
type Refusals map[string]int

// String says it to a person: "no suitable host (3: memory, 1: constraint host.labels.zone == a)".
func (r Refusals) String() string {
	if len(r) == 0 {
		return "no suitable host (no host has joined)"
	}
	reasons := slices.SortedFunc(maps.Keys(r), func(a, b string) int { return cmp.Or(r[b]-r[a], strings.Compare(a, b)) })
	for i, reason := range reasons {
		reasons[i] = fmt.Sprintf("%d: %s", r[reason], reason)
	}
	return "no suitable host (" + strings.Join(reasons, ", ") + ")"
}
