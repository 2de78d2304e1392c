package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

// volumes is what is known of the cluster's volumes on this host.
type volumes struct {
	mu     sync.Mutex
	there  map[string]state.Volume // by name in Docker
	all    bool                    // there are no others
	made   int                     // counts changes of ours, which a list from before does not show
	claims map[string]string       // the instance that is being started with a volume that only one may have
}

// have takes in volumes that a container was just made with.
func (v *volumes) have(mounts []engine.Mount) {
	if len(mounts) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.made++
	v.there = maps.Clone(v.there)
	if v.there == nil {
		v.there = map[string]state.Volume{}
	}
	for _, m := range mounts {
		v.there[m.Name] = m.Volume
	}
}

// lose takes in that a volume was removed.
func (v *volumes) lose(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.made++
	v.there = maps.Clone(v.there)
	delete(v.there, name)
}

// list asks Docker, and tells whether anything is known now that was not. What Docker does not say
// stays as it was.
func (v *volumes) list(ctx context.Context, ask func(context.Context) (map[string]state.Volume, error)) (changed bool, err error) {
	for {
		v.mu.Lock()
		made := v.made
		v.mu.Unlock()
		there, err := ask(ctx)
		if err != nil {
			return false, err
		}
		v.mu.Lock()
		if v.made == made {
			changed = !v.all || !maps.Equal(v.there, there)
			v.there, v.all = there, true
			v.mu.Unlock()
			return changed, nil
		}
		v.mu.Unlock()
	}
}

// known are the volumes by name; all says that there are no others.
func (v *volumes) known() (there map[string]state.Volume, all bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.there, v.all
}

// volumeEntries adds the volumes to what is to be published. Unless it is known that there are no
// others, those that the store has stay.
func (a *Agent) volumeEntries(w *wish) {
	there, all := a.volumes.known()
	w.allVolumes = all
	for name, volume := range there {
		value, err := json.Marshal(volume)
		if err != nil {
			panic(err) // strings and a number can be marshalled
		}
		w.entries[state.VolumeKey(a.HostIP, name)] = entry{value: string(value)}
	}
}

// unrecorded says why the cluster does not know yet of all volumes that an instance has, "" if it
// does. Until then nobody may hear that it is past its start: its slot could be placed elsewhere,
// without its data.
func (a *Agent) unrecorded(d Desired) string {
	for _, m := range d.Mounts {
		key := state.VolumeKey(a.HostIP, m.Name)
		if a.publisher.has(key) {
			continue
		}
		if err := a.publisher.refusal(key); err != nil {
			return fmt.Sprintf("volume %s cannot be recorded: %v", m.Name, err)
		}
		return fmt.Sprintf("volume %s is being recorded", m.Name)
	}
	return ""
}

// complete adds to what is observed of an instance what its volumes and its image say. It tells
// whether the cluster does not know yet of its volumes: then only that it starts may be said of it.
func (a *Agent) complete(o *state.Observed, d Desired, c engine.Container) (unrecorded bool) {
	o.Image = a.imageOf(d, c)
	switch o.Phase {
	case state.PhaseStarting:
		o.Reason = orElse(o.Reason, a.blocked(d, c))
	case state.PhaseRunning, state.PhaseHealthy:
		if why := a.unrecorded(d); why != "" {
			o.Phase, o.Reason = state.PhaseStarting, why
			return true
		}
	}
	return false
}

// exclusive are the volumes of an instance that only one container may have at a time. Where its
// manifest cannot be read its container and the volumes' labels say what they are.
func (a *Agent) exclusive(d Desired, c engine.Container) (names []string) {
	for _, m := range d.Mounts {
		if m.Slot > 0 && !m.ReadOnly {
			names = append(names, m.Name)
		}
	}
	if d.Invalid != "" {
		there, all := a.volumes.known()
		for _, name := range c.Volumes {
			if v, ok := there[name]; ok && v.Slot > 0 || !ok && !all {
				names = append(names, name)
			}
		}
	}
	return names
}

// holder finds a container that runs, of another instance, with one of the volumes.
func holder(containers []engine.Container, names []string, instance string) (c engine.Container, volume string) {
	for _, c := range containers {
		switch c.Status {
		case engine.StatusCreated, engine.StatusExited, engine.StatusDead, engine.StatusRemoving:
			continue // no process of it is left, or is there yet
		}
		for _, name := range c.Volumes {
			if c.Instance != instance && slices.Contains(names, name) {
				return c, name
			}
		}
	}
	return engine.Container{}, ""
}

// blocked says why an instance must not be started yet, "" if it may: another one still has a
// volume or a port of the host that only one may have.
func (a *Agent) blocked(d Desired, c engine.Container) string {
	if why := portInUse(a.containers, d); why != "" {
		return why
	}
	names := a.exclusive(d, c)
	if len(names) == 0 {
		return ""
	}
	other, volume := holder(a.containers, names, d.Instance)
	if volume == "" {
		return ""
	}
	return inUse(volume, other.Instance)
}

func inUse(volume, instance string) string {
	return fmt.Sprintf("waits for volume %s, which instance %s still has", volume, instance)
}

// launch starts a container. Of those with the same volume that only one may have it starts none
// while another runs or is being started.
func (a *Agent) launch(ctx context.Context, d Desired, c engine.Container) error {
	if names := a.exclusive(d, c); len(names) > 0 {
		release, err := a.volumes.claim(names, d.Instance)
		if err != nil {
			return err
		}
		defer release()
		containers, err := a.Engine.List(ctx) // what the plan was made from may be old
		if err != nil {
			return err
		}
		if other, volume := holder(containers, names, d.Instance); volume != "" {
			return fmt.Errorf("%w: %s", errUnclaimed, inUse(volume, other.Instance))
		}
	}
	if err := a.claim(ctx, d, c); err != nil {
		return err
	}
	return a.Engine.Start(ctx, c.ID)
}

// claim keeps the volumes for the start of an instance, until release is called.
func (v *volumes) claim(names []string, instance string) (release func(), err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range names {
		if other, claimed := v.claims[name]; claimed {
			return nil, fmt.Errorf("%w: %s", errUnclaimed, inUse(name, other))
		}
	}
	if v.claims == nil {
		v.claims = map[string]string{}
	}
	for _, name := range names {
		v.claims[name] = instance
	}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, name := range names {
			delete(v.claims, name)
		}
	}, nil
}
