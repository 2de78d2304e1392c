package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// collectInterval is how often images that nothing needs are removed.
const collectInterval = 10 * time.Minute

// havePulled takes in that an image came to the host by a pull of ours. Only such are ever removed:
// what somebody loaded or built here nobody could bring back.
func (a *Agent) havePulled(id, name string) {
	i := a.images
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pulled[id] = append(i.pulled[id], name)
	select {
	case i.record <- struct{}{}:
	default:
	}
}

// tendImages records the images that were pulled, and removes those that nothing needs any more,
// until ctx ends.
func (a *Agent) tendImages(ctx context.Context) {
	collect := time.Now().Add(jitter(collectInterval))
	for {
		wake := collect
		if err := a.recordPulled(ctx); err != nil && wake.After(time.Now().Add(publishRetry)) {
			wake = time.Now().Add(publishRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.images.record:
		case <-time.After(time.Until(wake)):
		}
		if now := time.Now(); !now.Before(collect) {
			collect = now.Add(jitter(collectInterval))
			if err := a.CollectImages(ctx); err != nil && ctx.Err() == nil {
				a.Log.Warn("remove images that nothing needs", "err", err)
			}
		}
	}
}

// recordPulled writes down what was pulled.
func (a *Agent) recordPulled(ctx context.Context) error {
	i := a.images
	for {
		id, names := i.nextPulled()
		if id == "" {
			return nil
		}
		if !a.Apps.Snapshot().Known {
			return errUnknown
		}
		key := state.ImageKey(a.HostIP, id)
		node, err := a.Store.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		var image state.Image
		if json.Unmarshal([]byte(node.Value), &image) != nil || image.ID != id {
			image = state.Image{ID: id} // none, or not ours
		}
		image.Names = append(image.Names, names...)
		slices.Sort(image.Names)
		image.Names = slices.Compact(image.Names)
		value, err := json.Marshal(image)
		if err != nil {
			panic(err) // strings can be marshalled
		}
		if _, err := a.Store.Set(ctx, key, string(value), 0); err != nil {
			return err
		}
		i.mu.Lock()
		i.pulled[id] = i.pulled[id][len(names):]
		if len(i.pulled[id]) == 0 {
			delete(i.pulled, id)
		}
		i.mu.Unlock()
	}
}

func (i *images) nextPulled() (id string, names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id, names := range i.pulled {
		return id, slices.Clone(names)
	}
	return "", nil
}

// CollectImages removes the images that this host's conductor pulled, that no container on the host
// has, and that no revision in the store has. Of those that it does not surely know it removes none.
func (a *Agent) CollectImages(ctx context.Context) error {
	a.images.turn.Lock()
	defer a.images.turn.Unlock()
	apps := a.Apps.Snapshot()
	if !apps.Known {
		return errUnknown
	}
	recorded, err := a.Store.List(ctx, state.ImagesDir(a.HostIP))
	if err != nil {
		return err
	}
	used, err := a.Engine.UsedImages(ctx)
	if err != nil {
		return err
	}
	a.images.forgetNames(used)
	needed := imagesOf(apps)
	maps.Copy(needed, used)
	var errs []error
	for _, node := range recorded.Nodes {
		var image state.Image
		if json.Unmarshal([]byte(node.Value), &image) != nil || image.ID == "" {
			a.Log.Warn("what was written down of an image cannot be read", "key", node.Key)
			continue
		}
		errs = append(errs, a.collect(ctx, node.Key, image, needed))
	}
	return errors.Join(errs...)
}

// imagesOf are the names, digests and ids of all images that a revision has.
func imagesOf(apps store.Snapshot) map[string]bool {
	needed := map[string]bool{}
	for node := range apps.All(state.AppsDir) {
		key, ok := state.ParseAppKey(node.Key)
		if !ok || key.Kind != "revisions" {
			continue
		}
		var r struct {
			Image    string
			Manifest struct{ Image string }
		}
		// What cannot be read names no image, and nobody can run it.
		_ = json.Unmarshal([]byte(node.Value), &r)
		needed[r.Image] = true
		needed[engine.Familiar(r.Manifest.Image)] = true
	}
	return needed
}

// collect removes an image that is not needed, by the names that it was pulled by. Where somebody gave
// it another, the image stays.
func (a *Agent) collect(ctx context.Context, key string, recorded state.Image, needed map[string]bool) error {
	image, err := a.Engine.Image(ctx, recorded.ID)
	switch {
	case errors.Is(err, engine.ErrNoImage):
		return a.forgetImage(ctx, key)
	case err != nil:
		return err
	}
	all := slices.Concat([]string{image.ID}, image.Tags, image.Digests)
	if slices.ContainsFunc(all, func(name string) bool { return needed[name] }) {
		return nil
	}
	names := pulledNames(image, recorded)
	for _, name := range names {
		if err := a.Engine.RemoveImage(ctx, name); err != nil {
			return err
		}
	}
	a.Log.Info("image removed", "image", image.ID, "names", names, "reason", "no container on this host and no revision has it")
	return a.forgetImage(ctx, key)
}

// pulledNames are the names that an image has now because it was pulled, digests last: tags go first,
// for an image goes with its last name.
func pulledNames(image engine.Image, recorded state.Image) (names []string) {
	repositories := map[string]bool{}
	for _, name := range recorded.Names {
		repositories[engine.Repository(name)] = true
		if tag := engine.Familiar(name); slices.Contains(image.Tags, tag) {
			names = append(names, tag)
		}
	}
	for _, digest := range image.Digests {
		if repositories[engine.Repository(digest)] {
			names = append(names, digest)
		}
	}
	if len(image.Tags)+len(image.Digests) == 0 {
		names = append(names, image.ID)
	}
	return names
}

func (a *Agent) forgetImage(ctx context.Context, key string) error {
	if err := a.Store.Delete(ctx, key); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("forget image: %w", err)
	}
	return nil
}
