package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

// Place is a slot of a container.
type Place struct {
	state.Ref
	Slot int
}

// desired reads from the keys below /apps what this host is to run, by instance. Of slots that
// cannot be read it is not known whether they assign something: their instances stay as they are.
func desired(hostIP string, snapshot store.Snapshot) (all map[string]Desired, unreadable map[Place]bool) {
	all, unreadable = map[string]Desired{}, map[Place]bool{}
	for node := range snapshot.All(state.AppsDir + "/") {
		key, ok := state.ParseAppKey(node.Key)
		if !ok || key.Kind != "hosts" {
			continue
		}
		slot, ok := readSlot(node.Value)
		if !ok {
			unreadable[Place{key.Ref, key.Item}] = true
			continue
		}
		for _, assigned := range []struct {
			*state.Assignment
			next bool
		}{{slot.Current, false}, {slot.Next, true}} {
			if assigned.Assignment != nil && assigned.Host == hostIP {
				all[assigned.Instance] = describe(key, *assigned.Assignment, assigned.next, snapshot)
			}
		}
	}
	return all, unreadable
}

// readSlot reads a slot key; ok is false for what the scheduler would not write.
func readSlot(value string) (slot state.Slot, ok bool) {
	var object map[string]json.RawMessage // null is a Slot to json, but none to us
	if json.Unmarshal([]byte(value), &object) != nil || object == nil || json.Unmarshal([]byte(value), &slot) != nil {
		return state.Slot{}, false
	}
	for _, a := range []*state.Assignment{slot.Current, slot.Next} {
		if a != nil && (a.Host == "" || a.Instance == "") {
			return state.Slot{}, false
		}
	}
	return slot, true
}

func describe(key state.AppKey, a state.Assignment, next bool, snapshot store.Snapshot) Desired {
	d := Desired{Next: next, Run: a.Run, Spec: engine.Spec{Ref: key.Ref, Slot: key.Item, Revision: a.Revision, Instance: a.Instance,
		Generation: a.Generation, Name: manifest.ContainerName(key.App, key.Ref.Name, key.Item)}}
	m, image, err := revision(key.Ref, a.Revision, snapshot)
	if err != nil {
		d.Invalid = err.Error()
		return d
	}
	d.Manifest = m
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

// probed are the ports by which the health of the instance's container is told. Where the
// revision cannot be read these are the ones that it publishes.
func (d Desired) probed(c engine.Container) []int {
	if d.Invalid != "" {
		return slices.Sorted(maps.Keys(c.Ports))
	}
	return d.Ports
}

// serviceNames are the services in a fixed order.
func (d Desired) serviceNames() []string { return slices.Sorted(maps.Keys(d.Services)) }
