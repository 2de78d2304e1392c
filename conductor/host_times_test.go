package conductor

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// TestClusterSettings shortens the hosts' lease while one host runs and before another joins, and
// takes that host away.
func TestClusterSettings(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, "10.0.0.1")
	f.set(`{"host_lease": "3s", "host_lease_renew": "500ms"}`)
	lost := f.add("10.0.0.2")
	f.wait(2*time.Second*slack, func() error { return f.leased("10.0.0.2", 3*time.Second) })
	took := f.wait(settingsPoll*slack, func() error { return f.leased("10.0.0.1", 3*time.Second) })
	t.Logf("followed after %v", took)

	f.set(`{"host_lease": "1s"}`)
	ref := f.put("nginx", 2)
	f.wait(5*time.Second*slack, func() error { return f.placed(map[state.Ref]int{ref: 2}) })
	time.Sleep(settingsPoll)
	for ip := range f.hosts {
		f.wait(time.Second*slack, func() error { return f.leased(ip, 3*time.Second) }) // the nonsense changed nothing
	}
	before := f.hosts["10.0.0.1"].conductor.host.Renewed()
	lost.kill()
	took = f.wait(hostTTL*slack, func() error {
		if on := slices.Collect(maps.Values(f.records(ref))); slices.Contains(on, lost.ip) {
			return fmt.Errorf("announced on %v", on)
		}
		return nil
	})
	// With the usual lease it would be lost this long after its end at the earliest.
	if took > hostTTL-hostRenew {
		t.Errorf("lost after %v", took)
	}
	t.Logf("lost after %v", took)
	f.wait(5*time.Second*slack, func() error { return f.unused(lost.ip) })
	if f.hosts["10.0.0.1"].conductor.host.Renewed().Equal(before) {
		t.Error("the other host renews its lease no more")
	}
	lost.start()
	f.wait(5*time.Second*slack, lost.present)

	// All this is told of.
	f.wait(5*time.Second*slack, func() error {
		return f.told("scheduler 10.0.0.1", "host joined 10.0.0.2", "revision ", "assigned 10.0.0.2", "healthy 10.0.0.2",
			"host lost 10.0.0.2", "assigned 10.0.0.1", "healthy 10.0.0.1", "host back 10.0.0.2", "stopping 10.0.0.2")
	})
}

func (f *fleet) set(settings string) {
	f.t.Helper()
	if _, err := f.store.Set(f.t.Context(), state.SettingsKey, settings, 0); err != nil {
		f.t.Fatal(err)
	}
}

// leased returns nil when the host's lease was just written for so long.
func (f *fleet) leased(ip string, ttl time.Duration) error {
	node, err := f.store.Get(f.t.Context(), state.HostLeaseKey(ip))
	if err == nil && (node.TTL > ttl || node.TTL < ttl-time.Second) {
		err = fmt.Errorf("the lease of %s has %v to live", ip, node.TTL)
	}
	return err
}

// told returns nil when there are events of these kinds and hosts.
func (f *fleet) told(want ...string) error {
	listing, err := f.store.List(f.t.Context(), state.EventsDir)
	if err != nil {
		return err
	}
	var all []string
	for _, node := range listing.Nodes {
		var e state.Event
		if err := json.Unmarshal([]byte(node.Value), &e); err != nil {
			return err
		}
		all = append(all, e.Kind+" "+e.Host)
	}
	var missing []error
	for _, w := range want {
		if !slices.Contains(all, w) {
			missing = append(missing, fmt.Errorf("nothing tells %q: %q", w, all))
		}
	}
	return errors.Join(missing...)
}
