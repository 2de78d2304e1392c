package conductor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/conductor/hostapi"
	"github.com/dokkaa/dokkaa/internal/state"
)

// memoryDocker is the Docker Engine of a host, in memory. Like a real one it outlives conductors.
type memoryDocker struct {
	t        *testing.T
	mayStop  func(instance string) error // why an instance may not be stopped now
	services netip.Addr                  // where the services of its containers are, or are not
	unfit    atomic.Bool                 // the host cannot be prepared for containers
	fences   atomic.Bool                 // containers may be stopped that are to stay

	mu         sync.Mutex
	containers map[string]*engine.Container // by id
	volumes    map[string]state.Volume
	made       int
	stopped    []string // instances, in this order
	log        []happening
	changed    map[int]func()
	watchers   int
}

func newMemoryDocker(t *testing.T, mayStop func(instance string) error) *memoryDocker {
	return &memoryDocker{t: t, mayStop: mayStop, services: netip.MustParseAddr("127.0.0.1"),
		containers: map[string]*engine.Container{}, changed: map[int]func(){}}
}

func (d *memoryDocker) machine() machine {
	return machine{engine: d, api: memoryAPI{memoryDocker: d}, clusters: d.clusters, prepare: d.prepare, watch: d.watch,
		connections: func(context.Context, netip.Addr, []int) (int, error) { return 0, nil }}
}

// memoryAPI runs no commands.
type memoryAPI struct {
	hostapi.Engine
	*memoryDocker
}

func (m memoryAPI) List(ctx context.Context) ([]engine.Container, error) {
	return m.memoryDocker.List(ctx)
}
func (m memoryAPI) EndOtherCommands(context.Context, string, string) error { return nil }

func (d *memoryDocker) List(context.Context) ([]engine.Container, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []engine.Container
	for _, c := range d.containers {
		all = append(all, *c)
	}
	return all, nil
}

func (d *memoryDocker) Create(_ context.Context, spec engine.Spec) (string, error) {
	defer d.tell()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken(spec.Name) {
		return "", fmt.Errorf("the name %s is taken", spec.Name)
	}
	d.made++
	c := &engine.Container{Ref: spec.Ref, Slot: spec.Slot, Revision: spec.Revision, Instance: spec.Instance, Leash: spec.Leash,
		ID: fmt.Sprintf("container-%d", d.made), Name: spec.Name, Status: engine.StatusCreated, Created: time.Now(), Ports: map[engine.Port]int{}}
	for i, port := range spec.Ports {
		c.Ports[port] = 30000 + 10*d.made + i
	}
	d.containers[c.ID] = c
	return c.ID, nil
}

func (d *memoryDocker) Pull(context.Context, string, engine.Login) error { return nil }

func (d *memoryDocker) Start(_ context.Context, id string) error {
	defer d.tell()
	d.mu.Lock()
	defer d.mu.Unlock()
	c, there := d.containers[id]
	if !there {
		return fmt.Errorf("no container %s", id)
	}
	c.Status, c.Addr = engine.StatusRunning, d.services
	d.log = append(d.log, happening{"start", c.Instance, time.Now()})
	return nil
}

func (d *memoryDocker) Put(context.Context, string, []engine.File) error { return nil }

func (d *memoryDocker) Volumes(context.Context) (map[string]state.Volume, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.volumes), nil
}

func (d *memoryDocker) RemoveVolume(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.volumes, name)
	return nil
}

func (d *memoryDocker) Image(context.Context, string) (engine.Image, error) {
	return engine.Image{}, engine.ErrNoImage
}

func (d *memoryDocker) UsedImages(context.Context) (map[string]bool, error) { return nil, nil }

func (d *memoryDocker) RemoveImage(context.Context, string) error { return nil }

func (d *memoryDocker) Exit(context.Context, string) (engine.Exit, error) { return engine.Exit{}, nil }

func (d *memoryDocker) Exec(context.Context, string, []string, string) (engine.Exec, error) {
	return engine.Exec{}, nil
}

// Halt fails the test where nothing is fenced.
func (d *memoryDocker) Halt(_ context.Context, id string, _ time.Duration) error {
	defer d.tell()
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.containers[id]
	if !d.fences.Load() {
		d.t.Errorf("%s, slot %d, instance %s was stopped to stay", c.Ref, c.Slot, c.Instance)
	}
	c.Status, c.Addr, c.Detail = engine.StatusExited, netip.Addr{}, "Exited (143) 1 second ago"
	d.log = append(d.log, happening{"halt", c.Instance, time.Now()})
	return nil
}

func (d *memoryDocker) Rename(_ context.Context, id, name string) error {
	defer d.tell()
	d.mu.Lock()
	defer d.mu.Unlock()
	c, there := d.containers[id]
	switch {
	case !there:
		return fmt.Errorf("no container %s", id)
	case d.taken(name):
		return fmt.Errorf("the name %s is taken", name)
	}
	c.Name = name
	return nil
}

// taken tells whether a container has the name; d.mu must be held.
func (d *memoryDocker) taken(name string) bool {
	for _, c := range d.containers {
		if c.Name == name {
			return true
		}
	}
	return false
}

// Stop fails the test where nothing may be stopped.
func (d *memoryDocker) Stop(_ context.Context, id string, _ time.Duration) error {
	defer d.tell()
	d.mu.Lock()
	c, there := d.containers[id]
	d.mu.Unlock()
	if !there {
		return nil
	}
	if err := d.mayStop(c.Instance); err != nil {
		d.t.Errorf("%s, slot %d, instance %s was stopped: %v", c.Ref, c.Slot, c.Instance, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = append(d.stopped, c.Instance)
	delete(d.containers, id)
	return nil
}

func (d *memoryDocker) prepare(context.Context) error {
	if d.unfit.Load() {
		return errors.New("the firewall is not in place")
	}
	return nil
}

func (d *memoryDocker) clusters(context.Context) (map[string]int, error) { return nil, nil }

func (d *memoryDocker) watch(ctx context.Context, changed, _ func()) error {
	d.mu.Lock()
	d.watchers++
	n := d.watchers
	d.changed[n] = changed
	d.mu.Unlock()
	changed()
	<-ctx.Done()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.changed, n)
	return ctx.Err()
}

func (d *memoryDocker) tell() {
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.changed))
	d.mu.Unlock()
	for _, changed := range all {
		changed()
	}
}

// running are the instances that run, by the container and slot that they run for.
func (d *memoryDocker) running() map[place][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[place][]string{}
	for _, c := range d.containers {
		if c.Status == engine.StatusRunning {
			at := place{c.Ref, c.Slot}
			all[at] = append(all[at], c.Instance)
		}
	}
	return all
}

// happening is what was done to an instance.
type happening struct {
	what, instance string
	at             time.Time
}

// when is when that was done last to any instance, zero if it was not.
func (d *memoryDocker) when(what string) (at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.log {
		if h.what == what {
			at = h.at
		}
	}
	return at
}

// stops is how often something was stopped.
func (d *memoryDocker) stops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.stopped)
}

// place is a slot of a container.
type place struct {
	state.Ref
	slot int
}
