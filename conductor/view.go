package conductor

import (
	"iter"
	"reflect"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// view is what a plan is made from, in a form that is quick to compare. Leases are renewed all the
// time: on a large cluster, planning after each renewal would take a whole core.
type view struct {
	apps      version
	instances version // as hosts reported them
	hosts     map[string]schedule.Host
}

func newView(apps, hosts store.Snapshot, judged map[string]schedule.Host) view {
	return view{
		apps:  versionOf(apps.All(state.AppsDir), func(string) bool { return true }),
		hosts: judged,
		instances: versionOf(hosts.All(state.HostsDir), func(key string) bool {
			k, ok := state.ParseHostKey(key)
			return ok && k.Kind == "instances"
		}),
	}
}

// equal tells whether both views lead to the same plan.
func (v view) equal(other view) bool { return reflect.DeepEqual(v, other) }

// version tells the contents of a set of keys apart: what is written gets an index above all others,
// and where nothing was written fewer keys are left.
type version struct {
	keys   int
	newest uint64 // Modified
}

func versionOf(nodes iter.Seq[store.Node], counts func(key string) bool) version {
	var v version
	for node := range nodes {
		if counts(node.Key) {
			v.keys++
			v.newest = max(v.newest, node.Modified)
		}
	}
	return v
}
