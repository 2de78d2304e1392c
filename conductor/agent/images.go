package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
)

// askAgain is how long after a try that failed Docker is asked again what an image is called.
const askAgain = 5 * time.Second

// images is what is known of the images of this host's instances.
type images struct {
	mu     sync.Mutex
	names  map[imageOf]string  // what they are called that any host may know them by
	asked  map[imageOf]string  // what is not known yet, with the name that is preferred
	hint   chan struct{}       // something is asked
	pulled map[string][]string // names of images that were pulled and are not recorded yet, by id
	record chan struct{}       // something was pulled, or is to be collected
	turn   sync.Mutex          // held while images are collected
}

func newImages() *images {
	return &images{names: map[imageOf]string{}, asked: map[imageOf]string{}, hint: make(chan struct{}, 1),
		pulled: map[string][]string{}, record: make(chan struct{}, 1)}
}

// imageOf is an image by its id as a manifest has it, which names a repository.
type imageOf struct{ id, repository string }

// imageOf is what the instance's image is, "" while that is not known: its digest where it is from the
// manifest's repository, else its id. It takes no time; Docker is asked beside.
func (a *Agent) imageOf(d Desired, c engine.Container) string {
	if c.ImageID == "" || d.Manifest == nil {
		return ""
	}
	of := imageOf{c.ImageID, engine.Repository(d.Manifest.Image)}
	i := a.images
	i.mu.Lock()
	defer i.mu.Unlock()
	name, known := i.names[of]
	if _, asked := i.asked[of]; !known && !asked {
		i.asked[of] = d.Image
		select {
		case i.hint <- struct{}{}:
		default:
		}
	}
	return name
}

// nameImages finds out what images are called that somebody wants to know of, until ctx ends.
func (a *Agent) nameImages(ctx context.Context) {
	for {
		wait := time.Duration(1<<63 - 1)
		if !a.nameAsked(ctx) {
			wait = askAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-a.images.hint:
		case <-time.After(wait):
		}
	}
}

// nameAsked asks Docker for all that is not known, and tells whether it is then.
func (a *Agent) nameAsked(ctx context.Context) (all bool) {
	a.images.mu.Lock()
	asked := maps.Clone(a.images.asked)
	a.images.mu.Unlock()
	all = true
	for of, preferred := range asked {
		image, err := a.Engine.Image(ctx, of.id)
		if err != nil && !errors.Is(err, engine.ErrNoImage) { // which containers may outlive
			a.Log.Debug("ask what an image is called", "image", of.id, "err", err)
			all = false
			continue
		}
		a.images.mu.Lock()
		a.images.names[of] = nameOf(image, of, preferred)
		delete(a.images.asked, of)
		a.images.mu.Unlock()
		a.Hint()
	}
	return all
}

// nameOf is the digest by which the repository has the image, or the id if it has it by none.
func nameOf(image engine.Image, of imageOf, preferred string) string {
	if slices.Contains(image.Digests, preferred) {
		return preferred
	}
	for _, digest := range slices.Sorted(slices.Values(image.Digests)) {
		if engine.Repository(digest) == of.repository {
			return digest
		}
	}
	return of.id
}

// forgetNames forgets what images are called that no container has.
func (i *images) forgetNames(used map[string]bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.DeleteFunc(i.names, func(of imageOf, _ string) bool { return !used[of.id] })
	maps.DeleteFunc(i.asked, func(of imageOf, _ string) bool { return !used[of.id] })
}
