package dokkaacfg

import (
	"net/netip"
	"slices"
	"testing"
)

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// The daemons get what the documentation of "docker run" says.
func TestDaemonsOfAHost(t *testing.T) {
	hosts := addrs("10.0.0.1", "10.0.0.2", "10.0.0.3")
	want := map[string][]string{
		"gateway":    {"HOST_IP=10.0.0.2", "ETCD_ADDR=10.0.0.1:2379"},
		"skydns":     {"HOST_IP=10.0.0.2", "ETCD_MACHINES=http://127.0.0.1:4001,http://10.0.0.1:4001,http://10.0.0.3:4001"},
		"conductor":  {"HOST_IP=10.0.0.2", "ETCD_ADDR=10.0.0.2:4001,10.0.0.1:4001,10.0.0.3:4001"},
		"ambassador": {"HOST_IP=10.0.0.2"},
	}
	got := daemonsOf(hosts[1], hosts, hosts[:1], doors{}, keyFile{}, "")
	if len(got) != len(want) {
		t.Errorf("%d daemons, want %d", len(got), len(want))
	}
	for _, d := range got {
		if !slices.Equal(d.env, want[d.name]) {
			t.Errorf("%s: environment %q, want %q", d.name, d.env, want[d.name])
		}
		needsDocker := d.name == "conductor" || d.name == "ambassador"
		if has := slices.Contains(d.binds, "/var/run/docker.sock:/var/run/docker.sock"); has != needsDocker {
			t.Errorf("%s: has Docker's socket: %v", d.name, has)
		}
	}
	if alone := daemonsOf(hosts[0], hosts[:1], hosts[:1], doors{}, keyFile{}, ""); !slices.Contains(alone[1].env, "ETCD_MACHINES=http://127.0.0.1:4001") {
		t.Errorf("skydns on a single host: %q", alone[1].env)
	}
}

func TestDigestTellsWhatNeedsANewContainer(t *testing.T) {
	base := etcdDaemon("c", addrs("10.0.0.1")[0], "a=http://a:2380", "new")
	if again := etcdDaemon("c", addrs("10.0.0.1")[0], "a=http://a:2380,b=http://b:2380", "existing"); again.digest("id") != base.digest("id") {
		t.Error("another initial cluster needs a new container, it must not")
	}
	if base.digest("other") == base.digest("id") {
		t.Error("another image needs no new container")
	}
	other := base
	other.env = append(slices.Clone(base.env), "X=1")
	if other.digest("id") == base.digest("id") {
		t.Error("another environment needs no new container")
	}
}

// A member that is replaced keeps what it was first started with.
func TestKeepOnce(t *testing.T) {
	d := etcdDaemon("c", addrs("10.0.0.1")[0], "later", "existing")
	d.keepOnce([]string{"PATH=/", "ETCD_INITIAL_CLUSTER=first", "ETCD_INITIAL_CLUSTER_STATE=new"})
	if want := []string{"ETCD_INITIAL_CLUSTER_TOKEN=dokkaa-c", "ETCD_INITIAL_CLUSTER=first", "ETCD_INITIAL_CLUSTER_STATE=new"}; !slices.Equal(d.once, want) {
		t.Errorf("kept %q, want %q", d.once, want)
	}
}

func TestAmbassadorsMode(t *testing.T) {
	plain := ambassadorDaemon("HOST_IP=10.0.0.1", "socket", "")
	auto := ambassadorDaemon("HOST_IP=10.0.0.1", "socket", "auto")
	if len(plain.capabilities()) > 0 || !slices.Equal(auto.capabilities(), []string{"NET_ADMIN"}) {
		t.Errorf("capabilities %q, and with mode auto %q", plain.capabilities(), auto.capabilities())
	}
	plain.keep([]string{"PATH=/", "AMBASSADOR_MODE=auto"})
	if plain.digest("id") != auto.digest("id") {
		t.Error("the mode of the existing container is not kept")
	}
	proxy := ambassadorDaemon("HOST_IP=10.0.0.1", "socket", "proxy")
	proxy.keep([]string{"AMBASSADOR_MODE=auto"})
	if len(proxy.capabilities()) > 0 || proxy.digest("id") == auto.digest("id") {
		t.Error("the mode that is asked for is not taken")
	}
}
