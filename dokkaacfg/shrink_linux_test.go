package dokkaacfg

import (
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

// Hosts that were on their way out take their share again when they are to stay; what the operator
// drained stays drained.
func TestTakeBack(t *testing.T) {
	c := newTestCluster(t)
	c.put(state.AvailabilityKey("10.101.0.1"), "drain", state.LeavingKey("10.101.0.1"), "x",
		state.AvailabilityKey("10.101.0.2"), "drain",
		state.AvailabilityKey("10.101.0.3"), "drain", state.LeavingKey("10.101.0.3"), "x")
	var out strings.Builder
	if err := takeBack(t.Context(), newProgress(&out), clusterKeys{Store: c.keys}, fakeHosts("10.101.0.1", "10.101.0.2")); err != nil {
		t.Fatal(err)
	}
	if got := append(c.below("/hosts"), c.below(state.LeavingDir)...); !slices.Equal(got, []string{"10.101.0.2/availability", "10.101.0.3/availability", "10.101.0.3"}) {
		t.Errorf("left are %q\n%s", got, &out)
	}
}
