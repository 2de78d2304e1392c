package conductor

import (
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// TestViewTellsWhatMatters holds the view to what a plan depends on.
func TestViewTellsWhatMatters(t *testing.T) {
	manifest := func(name string, modified uint64) store.Node {
		return store.Node{Key: "/apps/dummy/" + name + "/manifest", Value: "{}", Modified: modified}
	}
	instance := func(id string, modified uint64) store.Node {
		return store.Node{Key: state.InstanceKey(hostA, id), Value: "{}", Modified: modified}
	}
	host := func(liveness schedule.Liveness, condition string) map[string]schedule.Host {
		return map[string]schedule.Host{hostA: {Host: state.Host{IP: hostA, Condition: condition, Labels: map[string]string{"zone": "a"}}, Liveness: liveness}}
	}
	apps := []store.Node{manifest("a", 3), manifest("b", 5)}
	hosts := []store.Node{leaseOf(hostA, 7, ttl), infoOf(hostA), instance("ia", 4), instance("ib", 6)}
	before := newView(store.NewSnapshot(9, apps...), store.NewSnapshot(9, hosts...), host(schedule.Alive, ""))
	for name, test := range map[string]struct {
		apps, hosts []store.Node
		judged      map[string]schedule.Host
		same        bool
	}{
		"nothing":                    {apps, hosts, host(schedule.Alive, ""), true},
		"a renewal":                  {apps, []store.Node{leaseOf(hostA, 8, ttl), infoOf(hostA), instance("ia", 4), instance("ib", 6)}, host(schedule.Alive, ""), true},
		"a manifest was written":     {[]store.Node{manifest("a", 8), manifest("b", 5)}, hosts, host(schedule.Alive, ""), false},
		"a manifest is new":          {append(apps[:2:2], manifest("c", 8)), hosts, host(schedule.Alive, ""), false},
		"a manifest was removed":     {apps[1:], hosts, host(schedule.Alive, ""), false},
		"one for another":            {[]store.Node{manifest("b", 5), manifest("c", 8)}, hosts, host(schedule.Alive, ""), false},
		"an instance changed":        {apps, []store.Node{leaseOf(hostA, 7, ttl), instance("ia", 8), instance("ib", 6)}, host(schedule.Alive, ""), false},
		"an instance is gone":        {apps, []store.Node{leaseOf(hostA, 7, ttl), instance("ib", 6)}, host(schedule.Alive, ""), false},
		"a host is missing":          {apps, hosts, host(schedule.Missing, ""), false},
		"a host's condition changed": {apps, hosts, host(schedule.Alive, "full"), false},
		"a host is gone":             {apps, hosts, map[string]schedule.Host{}, false},
	} {
		if same := before.equal(newView(store.NewSnapshot(10, test.apps...), store.NewSnapshot(10, test.hosts...), test.judged)); same != test.same {
			t.Errorf("%s: same is %v", name, same)
		}
	}
}
