package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

// fakeStorage is the part of a fakeEngine that holds volumes, files and images. It is guarded by the
// engine's mutex.
type fakeStorage struct {
	volumes    map[string]state.Volume
	volumesErr error
	two        string                   // two containers that run with one volume that only one may have
	files      map[string][]engine.File // by container
	puts       int
	registry   map[string]engine.Image // by name; what is not in there cannot be reached
	absent     map[string]bool         // names that the registry does not have
	here       map[string]engine.Image // by id
	untagged   []string
	foreign    []engine.Container // that are not the cluster's
	broken     bool               // pulls end without the image
}

// mount notes what a container was made with.
func (e *fakeEngine) mount(id string, spec engine.Spec) {
	c := e.containers[id]
	if c == nil {
		return
	}
	if image, there := e.find(spec.Image); there {
		c.ImageID = image.ID
	}
	for _, m := range spec.Mounts {
		if e.fakeStorage.volumes == nil {
			e.fakeStorage.volumes = map[string]state.Volume{}
		}
		e.fakeStorage.volumes[m.Name] = m.Volume
		if !m.ReadOnly {
			c.Volumes = append(c.Volumes, m.Name)
		}
	}
}

// checkVolumes notes if a container is started while another runs with the same volume.
func (e *fakeEngine) checkVolumes(c *engine.Container) {
	for _, other := range e.containers {
		for _, name := range other.Volumes {
			if other.ID != c.ID && other.Status == engine.StatusRunning && e.fakeStorage.volumes[name].Slot > 0 && slices.Contains(c.Volumes, name) {
				e.two = other.ID + " and " + c.ID
			}
		}
	}
}

func (e *fakeEngine) Put(_ context.Context, id string, files []engine.File) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.containers[id].Status != engine.StatusCreated {
		return errors.New("files are put into a container that was started before")
	}
	if e.fakeStorage.files == nil {
		e.fakeStorage.files = map[string][]engine.File{}
	}
	e.fakeStorage.files[id] = files
	e.puts++
	return nil
}

func (e *fakeEngine) Volumes(context.Context) (map[string]state.Volume, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.fakeStorage.volumes), e.volumesErr
}

func (e *fakeEngine) RemoveVolume(_ context.Context, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := slices.Clone(e.foreign)
	for _, c := range e.containers {
		all = append(all, *c)
	}
	for _, c := range all {
		if slices.Contains(c.Volumes, name) {
			return errors.New("volume in use and cannot be removed")
		}
	}
	delete(e.fakeStorage.volumes, name)
	e.log = append(e.log, "remove volume "+name)
	return nil
}

// find finds an image by any of its names.
func (e *fakeEngine) find(name string) (engine.Image, bool) {
	for _, image := range e.here {
		if image.ID == name || slices.Contains(image.Tags, engine.Familiar(name)) || slices.Contains(image.Digests, name) {
			return image, true
		}
	}
	return engine.Image{}, false
}

// pulled is the end of a pull.
func (e *fakeEngine) pulled(name string) error {
	if e.absent[name] {
		return fmt.Errorf("pull image %s: %w", name, engine.ErrImageAbsent)
	}
	image, there := e.registry[name]
	if !there {
		return fmt.Errorf("pull image %s: no such host", name)
	}
	if !e.broken {
		e.have(image)
	}
	return nil
}

// have puts an image on the host; e.mu must be held.
func (e *fakeEngine) have(image engine.Image) {
	if e.here == nil {
		e.here = map[string]engine.Image{}
	}
	for id, other := range e.here { // a tag is one image's
		other.Tags = slices.DeleteFunc(slices.Clone(other.Tags), func(tag string) bool { return slices.Contains(image.Tags, tag) })
		e.here[id] = other
	}
	e.here[image.ID] = image
	e.images = map[string]bool{}
	for _, image := range e.here {
		for _, name := range slices.Concat([]string{image.ID}, image.Tags, image.Digests) {
			e.images[name] = true
		}
	}
}

func (e *fakeEngine) Image(_ context.Context, name string) (engine.Image, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	image, there := e.find(name)
	if !there {
		return engine.Image{}, engine.ErrNoImage
	}
	return image, nil
}

func (e *fakeEngine) UsedImages(context.Context) (map[string]bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	used := map[string]bool{}
	for _, c := range e.containers {
		used[c.ImageID] = true
	}
	for _, c := range e.foreign {
		used[c.ImageID] = true
	}
	return used, nil
}

func (e *fakeEngine) RemoveImage(_ context.Context, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.untagged = append(e.untagged, name)
	image, there := e.find(name)
	if !there {
		return nil
	}
	not := func(other string) bool { return other == name }
	image.Tags, image.Digests = slices.DeleteFunc(slices.Clone(image.Tags), not), slices.DeleteFunc(slices.Clone(image.Digests), not)
	if e.here[image.ID] = image; len(image.Tags)+len(image.Digests) == 0 {
		delete(e.here, image.ID)
	}
	return nil
}
