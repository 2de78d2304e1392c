package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/manifest"
)

// run creates and starts, and pulls the image where it is missing.
func (a *Agent) run(ctx context.Context, action Action) error {
	id, err := a.create(ctx, action)
	if err != nil {
		return err
	}
	if err := a.furnish(ctx, action.Desired, id); err != nil {
		return err
	}
	return a.launch(ctx, action.Desired, engine.Container{ID: id})
}

// create makes the container. Without the image that costs one request more than with it.
func (a *Agent) create(ctx context.Context, action Action) (id string, err error) {
	d := action.Desired
	spec := d.Spec
	spec.Name = action.Name
	err = engine.ErrNoImage
	if d.Manifest.Pull != manifest.PullAlways || d.Resolved { // once for each revision
		id, err = a.Engine.Create(ctx, spec)
	}
	if errors.Is(err, engine.ErrNoImage) {
		if err := a.fetch(ctx, action); err != nil {
			return "", err
		}
		if id, err = a.Engine.Create(ctx, spec); errors.Is(err, engine.ErrNoImage) {
			err = fmt.Errorf("image %s was fetched, and is gone again", d.Image) // it is known who has it
		}
	}
	if err != nil {
		return "", err
	}
	a.volumes.have(d.Mounts)
	a.Hint() // records them meanwhile
	return id, nil
}

// fetch gets an image that is not on the host. What another host found the manifest's image to be
// may be an id, which no registry knows: then the image that it has under the name will do if it is
// that one.
func (a *Agent) fetch(ctx context.Context, action Action) error {
	d := action.Desired
	if d.Manifest.Pull == manifest.PullNever {
		return fmt.Errorf("%w on this host as %s, and its manifest says never to pull it", engine.ErrImageAbsent, d.Image)
	}
	if !d.Resolved {
		return a.pull(ctx, action, d.Image)
	}
	if !engine.IsImageID(d.Image) {
		if err := a.pull(ctx, action, d.Image); !errors.Is(err, engine.ErrImageAbsent) {
			return err
		}
	}
	err := a.pull(ctx, action, d.Manifest.Image)
	if err == nil {
		_, err = a.Engine.Image(ctx, d.Image)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, engine.ErrNoImage):
		err = fmt.Errorf("%w any more: its registry has another one under that name", engine.ErrImageAbsent)
	}
	return fmt.Errorf("image %s was resolved to %s by another host; this host has no such image: %w", d.Manifest.Image, d.Image, err)
}

// pull pulls an image for an action that starts a container, which leaves its place meanwhile.
func (a *Agent) pull(ctx context.Context, action Action, image string) error {
	a.mu.Lock()
	a.recall(action.Instance).pulling = true
	a.mu.Unlock()
	a.starts.leave()
	defer a.starts.enter() // also if ctx ended: those that have a place end soon
	a.Hint()
	if err := a.pulls.wait(ctx); err != nil {
		return err
	}
	defer a.pulls.leave()
	before, err := a.Engine.Image(ctx, image)
	if err != nil && !errors.Is(err, engine.ErrNoImage) {
		return err
	}
	login, unread := a.login(ctx, image)
	err = a.Engine.Pull(ctx, image, login)
	switch {
	case err != nil && unread != nil: // what everybody may have is there all the same; what is not says nothing
		return fmt.Errorf("%w, and without one: %s", unread, docker.Words(err))
	case err != nil:
		return err
	}
	after, err := a.Engine.Image(ctx, image)
	switch {
	case errors.Is(err, engine.ErrNoImage): // a pull that broke off ends like one that did not
		return fmt.Errorf("pull image %s: it ended without the image", image)
	case err != nil:
		return err
	}
	if after.ID != before.ID {
		a.havePulled(after.ID, image)
	}
	return nil
}
