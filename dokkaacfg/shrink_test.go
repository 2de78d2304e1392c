package dokkaacfg

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

func fakeHosts(ips ...string) (hosts []Host) {
	for _, ip := range addrs(ips...) {
		hosts = append(hosts, fakeHost(ip))
	}
	return hosts
}

func TestChooseLeaving(t *testing.T) {
	existing := fakeHosts("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
	tests := []struct {
		name  string
		scale int
		named []string
		want  string
		fails string
	}{
		{"none", 4, nil, "", ""},
		{"more", 6, nil, "", ""},
		{"those that came last", 2, nil, "10.0.0.4, 10.0.0.3", ""},
		{"a named one", 3, []string{"10.0.0.2"}, "10.0.0.2", ""},
		{"a named one, twice", 3, []string{"10.0.0.2", "10.0.0.2"}, "10.0.0.2", ""},
		{"a named one, then the last", 2, []string{"10.0.0.2"}, "10.0.0.2, 10.0.0.4", ""},
		{"more named than are to go", 3, []string{"10.0.0.2", "10.0.0.1"}, "", "does not leave 3"},
		{"unknown", 3, []string{"10.0.0.9"}, "", "there is no host 10.0.0.9; the hosts are 10.0.0.1,"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := chooseLeaving(existing, tt.scale, tt.named)
			if listAddresses(got) != tt.want || (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s, %v", listAddresses(got), err)
			}
		})
	}
}

// inventoryOf is one of two hosts with two cores and a container.
func inventoryOf(manifest, slot string, more ...store.Node) inventory {
	known := []netip.Addr{addrs("10.0.0.1")[0], addrs("10.0.0.2")[0]}
	hosts := []store.Node{
		{Key: "/hosts/10.0.0.1/lease", Value: `{"cpus": 2, "memory": 1073741824}`, TTL: 1},
		{Key: "/hosts/10.0.0.2/lease", Value: `{"cpus": 2, "memory": 1073741824}`, TTL: 1},
	}
	return newInventory(known, append(hosts, more...), []store.Node{
		{Key: "/apps/a/db/manifest", Value: manifest},
		{Key: "/apps/a/db/hosts/1", Value: strings.ReplaceAll(slot, "<n>", "1")},
		{Key: "/apps/a/db/hosts/2", Value: strings.ReplaceAll(slot, "<n>", "2")},
	})
}

func TestWhatHostsThatStayCannotHold(t *testing.T) {
	const slot = `{"generation": 1, "current": {"host": "10.0.0.<n>", "revision": 1, "instance": "i<n>", "generation": 1}}`
	tests := []struct {
		name, manifest, want string
	}{
		{"it fits", `{"image": "x", "scale": 2, "resources": {"reserve": {"cpus": 1, "memory": "512m"}}}`, ""},
		{"too many cores", `{"image": "x", "scale": 2, "resources": {"reserve": {"cpus": 1.5}}}`, "reserve 3 cores, and the hosts that stay have 2"},
		{"too much memory", `{"image": "x", "scale": 2, "resources": {"reserve": {"memory": "768m"}}}`, "reserve 1.5 GiB of memory, and the hosts that stay have 1"},
		{"one on each host", `{"image": "x", "scale": 2, "max_per_host": 1}`, "a/db has 2 instances, of which one host takes 1 at most"},
		{"a fixed port", `{"image": "x", "scale": 2, "services": {"web": {"port": 80, "host_port": 80}}}`, "one host takes 1 at most"},
		{"one for each host", `{"image": "x", "mode": "global", "resources": {"reserve": {"cpus": 2}}}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(inventoryOf(tt.manifest, slot).tooMuchFor(fakeHosts("10.0.0.1")), "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	closed := inventoryOf(`{"image": "x"}`, slot, store.Node{Key: state.AvailabilityKey("10.0.0.1"), Value: "cordon"})
	if got := closed.tooMuchFor(fakeHosts("10.0.0.1")); !slices.Equal(got, []string{"none of the hosts that stay takes containers now"}) {
		t.Errorf("closed: %q", got)
	}
}

func TestPinned(t *testing.T) {
	const slot = `{"generation": 1, "current": {"host": "10.0.0.<n>", "revision": 1, "instance": "i<n>", "generation": 1}}`
	volume := func(value string) store.Node {
		return store.Node{Key: state.VolumeKey("10.0.0.2", "a---db---data"), Value: value}
	}
	for _, tt := range []struct {
		name, volume string
		pinned       bool
	}{
		{"local", `{"app": "a", "name": "db", "volume": "data", "driver": "local"}`, true},
		{"of its slot", `{"app": "a", "name": "db", "slot": 2, "volume": "data", "driver": "local"}`, true},
		{"of a slot that is elsewhere", `{"app": "a", "name": "db", "slot": 1, "volume": "data", "driver": "local"}`, false},
		{"of the network", `{"app": "a", "name": "db", "volume": "data", "driver": "nfs"}`, false},
		{"of another container", `{"app": "a", "name": "old", "volume": "data", "driver": "local"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := inventoryOf(`{"image": "x"}`, slot, volume(tt.volume))
			got := all.pinnedTo("10.0.0.2")
			if len(got) > 0 != tt.pinned || tt.pinned && !strings.HasPrefix(got[0], "a/db 2 has its volume data on host 10.0.0.2; ") {
				t.Errorf("%q", got)
			}
		})
	}
}
