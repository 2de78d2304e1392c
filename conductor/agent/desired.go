package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

// describe is what an assignment comes to.
func (c *resident) describe(place Place, a assignment, snapshot store.Snapshot) Desired {
	d := Desired{Next: a.next, Run: a.Run, Spec: engine.Spec{Ref: place.Ref, Slot: place.Slot, Revision: a.Revision, Instance: a.Instance,
		Generation: a.Generation, Name: manifest.ContainerName(place.App, place.Name, place.Slot)}}
	if c.revisions == nil {
		c.revisions = readRevisions(place.Ref, snapshot)
	}
	r, m, err := c.revisions.inForce(a.Revision)
	if err != nil {
		d.Invalid = err.Error()
		return d
	}
	d.Leash = leashOf(m).String()
	d.Manifest, d.Services, d.Versions, d.Resolved = m, m.Services, r.Versions, r.Image != ""
	d.Image = orElse(r.Image, m.Image)
	d.Entrypoint, d.Command, d.Env = m.Entrypoint, m.Command, m.Environment(place.App)
	d.User, d.WorkingDir, d.Hostname, d.Labels = m.User, m.WorkingDir, m.Hostname, m.Labels
	d.CPUs, d.Memory = m.Resources.CPUs, m.Resources.Memory
	d.Mounts, d.Backends = mounts(m, place), m.Backends(place.App)
	for _, port := range m.StickyPorts() {
		if d.Links == nil {
			d.Links = map[string]engine.Link{}
		}
		d.Links[strconv.Itoa(port)] = engine.Link{Sticky: true}
	}
	d.Ports, d.HostPorts = portsOf(m), map[engine.Port]int{}
	for _, service := range m.Services {
		if service.HostPort != 0 {
			d.HostPorts[portOf(service)] = service.HostPort
		}
	}
	return d
}

func portOf(s manifest.Service) engine.Port { return engine.Port{Number: s.Port, UDP: s.UDP()} }

// portsOf are those of the services, in order.
func portsOf(m *manifest.Manifest) (ports []engine.Port) {
	for _, service := range m.Services {
		ports = append(ports, portOf(service))
	}
	slices.SortFunc(ports, engine.Port.Compare)
	return ports
}

// tcp are those ports that connections are made to.
func tcp(ports []engine.Port) (numbers []int) {
	for _, port := range ports {
		if !port.UDP {
			numbers = append(numbers, port.Number)
		}
	}
	return numbers
}

// revisions are those of a container by number, in the form that they are written in until
// somebody asks for one.
type revisions map[int]*revision

type revision struct {
	state.Revision
	manifest *manifest.Manifest // nil before it was asked for
	err      error              // why it cannot be used
}

func readRevisions(ref state.Ref, snapshot store.Snapshot) revisions {
	all := revisions{}
	for node := range snapshot.All(ref.Dir() + "/revisions") {
		if key, ok := state.ParseAppKey(node.Key); ok {
			r := &revision{}
			if err := json.Unmarshal([]byte(node.Value), &r.Revision); err != nil {
				r.err = fmt.Errorf("read revision %d: %w", key.Item, err)
			}
			all[key.Item] = r
		}
	}
	return all
}

// inForce is a revision with the manifest that is in force for its instances. That is the one of the
// newest revision whose containers are the same: what differs between the two needs no new container.
func (all revisions) inForce(n int) (*state.Revision, *manifest.Manifest, error) {
	own := all[n]
	if own == nil {
		return nil, nil, fmt.Errorf("revision %d is not there", n)
	}
	if err := own.parse(n); err != nil {
		return nil, nil, err
	}
	newest, number := own, n
	for i, r := range all {
		if i > number && r.err == nil && r.Hash != "" && r.Hash == own.Hash && r.parse(i) == nil {
			newest, number = r, i
		}
	}
	return &own.Revision, newest.manifest, nil
}

// parse reads the manifest, once.
func (r *revision) parse(n int) error {
	if r.manifest != nil || r.err != nil {
		return r.err
	}
	m, err := manifest.Parse(r.Manifest)
	if err != nil {
		r.err = fmt.Errorf("this host's conductor does not understand revision %d: %w", n, err)
		return r.err
	}
	r.manifest = m
	return nil
}

// mounts are the manifest's volumes as a slot has them.
func mounts(m *manifest.Manifest, place Place) (all []engine.Mount) {
	for _, v := range m.Volumes {
		mount := engine.Mount{Name: v.DockerName(place.App, place.Name, place.Slot), Path: v.Path, DriverOpts: v.DriverOpts, ReadOnly: v.ReadOnly,
			Volume: state.Volume{Ref: place.Ref, Volume: v.Name, Driver: v.Driver}}
		if v.AccessMode == manifest.SingleWriter {
			mount.Slot = place.Slot
		}
		all = append(all, mount)
	}
	return all
}

// serviceNames are the services in a fixed order.
func (d Desired) serviceNames() []string { return slices.Sorted(maps.Keys(d.Services)) }
