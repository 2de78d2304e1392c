package agent

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

// desired reads from the keys below /apps what this host is to run, by instance.
func desired(hostIP string, snapshot store.Snapshot) map[string]Desired {
	all := map[string]Desired{}
	for key, slot := range slots(snapshot) {
		for _, assigned := range []struct {
			*state.Assignment
			next bool
		}{{slot.Current, false}, {slot.Next, true}} {
			if assigned.Assignment != nil && assigned.Host == hostIP {
				all[assigned.Instance] = describe(key, *assigned.Assignment, assigned.next, snapshot)
			}
		}
	}
	return all
}

// slots are the readable slot keys. One that cannot be read assigns nothing, which is the
// scheduler's to mend.
func slots(snapshot store.Snapshot) iter.Seq2[state.AppKey, state.Slot] {
	return func(yield func(state.AppKey, state.Slot) bool) {
		for node := range snapshot.All(state.AppsDir + "/") {
			key, ok := state.ParseAppKey(node.Key)
			if !ok || key.Kind != "hosts" {
				continue
			}
			var slot state.Slot
			if json.Unmarshal([]byte(node.Value), &slot) == nil && !yield(key, slot) {
				return
			}
		}
	}
}

func describe(key state.AppKey, a state.Assignment, next bool, snapshot store.Snapshot) Desired {
	d := Desired{Next: next, Spec: engine.Spec{Ref: key.Ref, Slot: key.Item, Revision: a.Revision, Instance: a.Instance,
		Generation: a.Generation, Name: manifest.ContainerName(key.App, key.Ref.Name, key.Item)}}
	m, image, err := revision(key.Ref, a.Revision, snapshot)
	if err != nil {
		d.Invalid = err.Error()
		return d
	}
	d.Image, d.Command, d.Env, d.Backends, d.Services = image, m.Command, m.Environment(key.App), m.Backends(key.App), m.Services
	for _, service := range m.Services {
		d.Ports = append(d.Ports, service.Port)
	}
	slices.Sort(d.Ports)
	return d
}

func revision(ref state.Ref, n int, snapshot store.Snapshot) (m *manifest.Manifest, image string, err error) {
	node, found := snapshot.Get(ref.RevisionKey(n))
	if !found {
		return nil, "", fmt.Errorf("revision %d is not there", n)
	}
	var r state.Revision
	if err := json.Unmarshal([]byte(node.Value), &r); err != nil {
		return nil, "", fmt.Errorf("read revision %d: %w", n, err)
	}
	if m, err = manifest.Parse(r.Manifest); err != nil {
		return nil, "", fmt.Errorf("this host's conductor does not understand revision %d: %w", n, err)
	}
	if r.Image != "" {
		return m, r.Image, nil
	}
	return m, m.Image, nil
}

// serviceNames are the services in a fixed order.
func (d Desired) serviceNames() []string { return slices.Sorted(maps.Keys(d.Services)) }
