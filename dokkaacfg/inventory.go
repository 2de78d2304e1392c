package dokkaacfg

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// inventory is what stands below /hosts and /apps.
type inventory struct {
	hosts map[string]*hostKeys // by address
	apps  map[state.Ref]*appKeys
}

// hostKeys is what stands below /hosts/<ip>.
type hostKeys struct {
	lease        *store.Node
	leaseErr     error
	said         state.Host // with the lease, or once upon a time
	availability state.Availability
	labels       map[string]string // the operator's
	instances    map[string]state.Observed
	volumes      map[string]state.Volume
	removals     map[string]state.Removal // by volume
	unreadable   []string                 // what is wrong with keys
	nodes        []store.Node
}

// appKeys is what stands below /apps/<app>/<name>.
type appKeys struct {
	manifest   *store.Node
	isDir      bool // there is a directory where the manifest should be
	status     *state.Status
	statusAt   uint64 // modifiedIndex of the status
	rollout    *state.Rollout
	rolloutAt  uint64 // its modifiedIndex
	scale      *state.Scale
	restart    int // number of the restarts that were asked for
	runs       map[string]state.Run
	slots      map[int]state.Slot
	revisions  map[int]state.Revision
	failed     []state.Observed // see readFailed
	newest     []newestValue    // see readNewest
	unreadable []string
}

// readInventory reads both directories. Hosts that are known without a key are there, too.
func readInventory(ctx context.Context, keys clusterKeys) (inventory, error) {
	hosts, err := keys.List(ctx, state.HostsDir)
	if err != nil {
		return inventory{}, err
	}
	apps, err := keys.List(ctx, state.AppsDir)
	if err != nil {
		return inventory{}, err
	}
	return newInventory(keys.hosts, hosts.Nodes, apps.Nodes), nil
}

// readApp reads the keys of a container.
func readApp(ctx context.Context, keys clusterKeys, ref state.Ref) (*appKeys, error) {
	list, err := keys.List(ctx, ref.Dir())
	if err != nil {
		return nil, err
	}
	return newInventory(nil, nil, list.Nodes).app(ref), nil
}

func newInventory(known []netip.Addr, hostNodes, appNodes []store.Node) inventory {
	all := inventory{hosts: map[string]*hostKeys{}, apps: map[state.Ref]*appKeys{}}
	for _, ip := range known {
		all.host(ip.String())
	}
	for _, node := range hostNodes {
		if key, ok := state.ParseHostKey(node.Key); ok {
			all.host(key.IP).add(key, node)
		}
	}
	for _, node := range appNodes {
		if ref, ok := manifestDirectory(node.Key); ok {
			all.app(ref).isDir = true
		}
		if key, ok := state.ParseAppKey(node.Key); ok {
			all.app(key.Ref).add(key, node)
		}
	}
	return all
}

func (i inventory) host(ip string) *hostKeys {
	if i.hosts[ip] == nil {
		i.hosts[ip] = &hostKeys{instances: map[string]state.Observed{}, volumes: map[string]state.Volume{}, removals: map[string]state.Removal{}}
	}
	return i.hosts[ip]
}

func (i inventory) app(ref state.Ref) *appKeys {
	if i.apps[ref] == nil {
		i.apps[ref] = &appKeys{slots: map[int]state.Slot{}, revisions: map[int]state.Revision{}, runs: map[string]state.Run{}}
	}
	return i.apps[ref]
}

func (h *hostKeys) add(key state.HostKey, node store.Node) {
	h.nodes = append(h.nodes, node)
	var err error
	switch key.Kind {
	case "lease":
		var said state.Host
		if err = unmarshal(node, &said); err == nil {
			h.said = said
		}
		h.lease, h.leaseErr = &node, err
	case "info":
		var said state.Host
		// The lease, which is newer, may have been read before.
		if err = unmarshal(node, &said); err == nil && h.lease == nil {
			h.said = said
		}
	case "availability":
		h.availability = state.Availability(node.Value)
	case "labels":
		err = unmarshal(node, &h.labels)
	case "instances":
		var observed state.Observed
		err = unmarshal(node, &observed)
		h.instances[key.Item] = observed // it is there, whatever it is
	case "volumes":
		var volume state.Volume
		err = unmarshal(node, &volume)
		h.volumes[key.Item] = volume
	case "removals":
		h.removals[key.Item], err = readRemoval(node)
	}
	if err != nil {
		h.unreadable = append(h.unreadable, err.Error())
	}
}

// readRemoval reads what a host says to the request to remove a volume: nothing yet, or why not.
func readRemoval(node store.Node) (said state.Removal, err error) {
	if node.Value != "" {
		err = unmarshal(node, &said)
	}
	return said, err
}

func (a *appKeys) add(key state.AppKey, node store.Node) {
	var err error
	switch {
	case key.Kind == "manifest" && key.Item == 0:
		a.manifest = &node
	case key.Kind == "status" && key.Item == 0:
		var status state.Status
		if err = unmarshal(node, &status); err != nil {
			status = state.Status{State: err.Error()}
		}
		a.status, a.statusAt = &status, node.Modified
	case key.Kind == "rollout" && key.Item == 0:
		var rollout state.Rollout
		err = unmarshal(node, &rollout)
		a.rollout, a.rolloutAt = &rollout, node.Modified
	case key.Kind == "scale" && key.Item == 0:
		var scale state.Scale
		err = unmarshal(node, &scale)
		a.scale = &scale
	case key.Kind == "restart" && key.Item == 0:
		a.restart = state.ParseRestart(node.Value)
	case key.Kind == "runs" && key.ID != "":
		var run state.Run
		err = unmarshal(node, &run)
		a.runs[key.ID] = run
	case key.Kind == "hosts" && key.Item > 0:
		var slot state.Slot
		err = unmarshal(node, &slot)
		a.slots[key.Item] = slot
	case key.Kind == "revisions" && key.Item > 0:
		var revision state.Revision
		err = unmarshal(node, &revision)
		a.revisions[key.Item] = revision
	}
	if err != nil {
		a.unreadable = append(a.unreadable, err.Error())
	}
}

// manifestDirectory tells whether the key is in a directory where a manifest should be, and whose.
func manifestDirectory(key string) (ref state.Ref, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, state.AppsDir+"/"), "/")
	if len(parts) < 4 || parts[2] != "manifest" {
		return ref, false
	}
	return state.Ref{App: parts[0], Name: parts[1]}, true
}

func unmarshal(node store.Node, value any) error {
	if err := json.Unmarshal([]byte(node.Value), value); err != nil {
		return fmt.Errorf("%s cannot be read: %w", node.Key, err)
	}
	return nil
}

// lost tells that the host's conductor has no lease.
func (h *hostKeys) lost() bool { return h.lease == nil }

// allLabels are the host's own labels with the operator's, which win.
func (h *hostKeys) allLabels() map[string]string {
	all := map[string]string{}
	for _, labels := range []map[string]string{h.said.Labels, h.labels} {
		for key, value := range labels {
			all[key] = value
		}
	}
	return all
}
