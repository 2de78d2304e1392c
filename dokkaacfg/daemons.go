package dokkaacfg

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// Labels of what we put on an engine.
const (
	daemonLabel = "dokkaa.daemon" // the daemon's name
	configLabel = "dokkaa.config" // what its container was made from, see daemonSpec.digest
	volumeLabel = "dokkaa.volume" // of a volume that the conductor made
	imageLabel  = "org.opencontainers.image.source=https://github.com/dokkaa/dokkaa"
)

const (
	etcdName     = "etcd"
	etcdVolume   = "dokkaa-etcd"
	gatewayPort  = 4001
	dockerSocket = "/var/run/docker.sock"
)

// daemonNames are the names of our daemons' containers; etcd's is not on every host.
var daemonNames = []string{etcdName, "gateway", "skydns", "conductor", "ambassador"}

// daemonSpec is one of our daemons as it runs on a host: what would be written after "docker run -d
// --restart always --network host".
type daemonSpec struct {
	name  string
	env   []string
	binds []string
	// once are variables that matter only when the container is first made: a change of them
	// is no reason to make it anew.
	once []string
	// kept are names of variables that an existing container keeps if none of that name is in env.
	kept []string
	// content identifies what is in the files that are bound: a container goes on seeing the old
	// file where a new one was put in its place.
	content string
}

func (d daemonSpec) image() string { return "dokkaa/" + d.name + ":latest" }

// digest tells whether an existing container is what would be made now.
func (d daemonSpec) digest(imageID string) string {
	// Strings and slices of them cannot fail to marshal.
	data, _ := json.Marshal([]any{d.name, imageID, d.env, d.binds, d.content})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// daemonsOf are the daemons of a host but etcd: they may start in any order.
func daemonsOf(host netip.Addr, hosts, members []netip.Addr, d doors, key keyFile, ambassadorMode string) []daemonSpec {
	hostIP := "HOST_IP=" + host.String()
	socket := dockerSocket + ":" + dockerSocket
	conductorBinds := []string{socket}
	if key.onHost != "" {
		conductorBinds = append(conductorBinds, key.onHost+":"+secretKeyInside+":ro")
	}
	// Where others show certificates, none is needed on loopback.
	keys := joinPort(ownFirst(host, hosts), gatewayPort, "")
	if d.etcd != nil {
		keys = "http://127.0.0.1:4001" + prefixComma(joinPort(others(host, hosts), gatewayPort, "https://"))
	}
	return []daemonSpec{
		gatewayDaemon(host, members),
		{name: "skydns", env: []string{hostIP, "ETCD_MACHINES=http://127.0.0.1:4001" + prefixComma(joinPort(others(host, hosts), gatewayPort, d.scheme()+"://"))}},
		{name: "conductor", env: []string{hostIP, "ETCD_ADDR=" + keys}, binds: conductorBinds, content: key.digest},
		ambassadorDaemon(hostIP, socket, ambassadorMode),
	}
}

// gatewayDaemon is the gateway to the members of etcd.
func gatewayDaemon(host netip.Addr, members []netip.Addr) daemonSpec {
	return daemonSpec{name: "gateway", env: []string{"HOST_IP=" + host.String(), "ETCD_ADDR=" + joinPort(members, 2379, "")}}
}

const modeVariable = "AMBASSADOR_MODE"

// ambassadorDaemon is the ambassador; mode "" leaves the one that it has.
func ambassadorDaemon(hostIP, socket, mode string) daemonSpec {
	d := daemonSpec{name: "ambassador", env: []string{hostIP}, binds: []string{socket}, kept: []string{modeVariable}}
	if mode != "" {
		d.env = append(d.env, modeVariable+"="+mode)
	}
	return d
}

// capabilities are those beyond Docker's own: only who has the kernel connect containers needs one.
func (d daemonSpec) capabilities() []string {
	if mode, _ := lookup(d.env, modeVariable); mode == "kernel" || mode == "auto" {
		return []string{"NET_ADMIN"}
	}
	return nil
}

// keep takes the variables that are kept over from the existing container.
func (d *daemonSpec) keep(env []string) {
	for _, name := range d.kept {
		value, ok := lookup(env, name)
		if _, set := lookup(d.env, name); ok && !set {
			d.env = append(slices.Clip(d.env), name+"="+value)
		}
	}
}

// etcdDaemon is a member of the given initial cluster, which token tells from others that have the
// same members; state is "new", or "existing" for one that joins a cluster that runs.
func etcdDaemon(token string, host netip.Addr, initial, state string) daemonSpec {
	return daemonSpec{
		name:  etcdName,
		env:   []string{"HOST_IP=" + host.String(), "ETCD_NAME=" + host.String()},
		once:  []string{"ETCD_INITIAL_CLUSTER_TOKEN=dokkaa-" + token, initialCluster + "=" + initial, "ETCD_INITIAL_CLUSTER_STATE=" + state},
		binds: []string{etcdVolume + ":/var/lib/etcd"},
	}
}

const initialCluster = "ETCD_INITIAL_CLUSTER"

// initialMembers is the value of ETCD_INITIAL_CLUSTER for new members on the hosts.
func (d doors) initialMembers(hosts []netip.Addr) string {
	var all []string
	for _, host := range hosts {
		all = append(all, host.String()+"="+d.peer(host))
	}
	return strings.Join(all, ",")
}

// others are all but the one.
func others[T comparable](one T, all []T) []T {
	return slices.DeleteFunc(slices.Clone(all), func(other T) bool { return other == one })
}

// ownFirst are the hosts with the host itself in front.
func ownFirst(host netip.Addr, hosts []netip.Addr) []netip.Addr {
	return append([]netip.Addr{host}, others(host, hosts)...)
}

func joinPort(hosts []netip.Addr, port int, scheme string) string {
	var all []string
	for _, host := range hosts {
		all = append(all, scheme+netip.AddrPortFrom(host, uint16(port)).String())
	}
	return strings.Join(all, ",")
}

func prefixComma(list string) string {
	if list == "" {
		return ""
	}
	return "," + list
}
