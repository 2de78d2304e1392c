package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// A daemon's container is not removed when another is to take its place: until the new one is healthy it
// is kept under another name, and gets its own back if that one does not come to it. One that hands its
// sockets over goes on meanwhile, see docs/adr/0021-sockets-are-handed-over.md; of the others there must
// never be two, so it is stopped just before the new one starts. See docs/adr/0030-one-host-after-the-other.md.
//
// Whenever we are killed, the next up finds by the names how far it came.
const (
	asideInfix  = "-before-"   // it goes on should the new one not come to serve
	endingInfix = "-draining-" // it was told to end, and its open connections go on for a while
)

const (
	servesPatience = 5 * time.Second  // for a daemon that has much to do to say that it is healthy
	endingGlance   = 2 * time.Second  // most have no open connections
	endingMost     = 10 * time.Second // more than any daemon takes, unless it hangs
)

// handoverLabel is on the images whose daemons hand their sockets over.
const handoverLabel = "dokkaa.handover"

// putAside gives the container's name free, and leaves the container as it is.
func (e *engine) putAside(ctx context.Context, container *dockerclient.Container, name string) error {
	return e.rename(ctx, container.ID, name+asideInfix+shortID(container.ID))
}

// startAfter starts a container of the daemon. One that is put aside runs on beside it only if it hands
// over to it; what does not serve has nothing to hand over.
func (e *engine) startAfter(ctx context.Context, id, daemon string) error {
	before, err := e.predecessors(ctx, daemon)
	if err != nil {
		return err
	}
	for n, p := range before {
		if !p.running || p.ending {
			continue
		}
		if p.handsOver && (n > 0 || e.serves(ctx, p, daemon)) {
			continue // of several, the newest serves
		}
		// Docker would start it again after its own restart, too.
		if err := e.setRestart(ctx, p, dockerclient.NeverRestart()); err != nil {
			return err
		}
		if err := e.stop(ctx, p.id); err != nil {
			return err
		}
	}
	return e.start(ctx, id)
}

// serves tells whether a daemon that is put aside is healthy.
func (e *engine) serves(ctx context.Context, p predecessor, daemon string) bool {
	return poll(ctx, servesPatience, func(ctx context.Context) error { return e.healthyIn(ctx, p.id, daemon) }) == nil
}

func (e *engine) setRestart(ctx context.Context, p predecessor, policy dockerclient.RestartPolicy) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := bounded(ctx, func() error {
		return e.client.UpdateContainer(p.id, dockerclient.UpdateContainerOptions{RestartPolicy: policy})
	})
	if err != nil {
		return fmt.Errorf("update container %s: %w", p.name, err)
	}
	return nil
}

func shortID(id string) string { return id[:min(len(id), 12)] }

func (e *engine) rename(ctx context.Context, id, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := e.client.RenameContainer(dockerclient.RenameContainerOptions{ID: id, Name: name, Context: ctx}); err != nil {
		return fmt.Errorf("rename container to %s: %w", name, err)
	}
	return nil
}

// predecessor is a container that another took the name of.
type predecessor struct {
	id, name  string
	running   bool
	ending    bool // it was told to end
	handsOver bool
}

// predecessors are those of a daemon, the newest first.
func (e *engine) predecessors(ctx context.Context, daemon string) ([]predecessor, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	containers, err := e.client.ListContainers(dockerclient.ListContainersOptions{
		All: true, Filters: map[string][]string{"label": {daemonLabel + "=" + daemon}}, Context: ctx,
	})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", daemon, err)
	}
	var all []predecessor
	for _, c := range containers {
		name := strings.TrimPrefix(strings.Join(c.Names, " "), "/")
		ending := strings.HasPrefix(name, daemon+endingInfix)
		if ending || strings.HasPrefix(name, daemon+asideInfix) {
			all = append(all, predecessor{id: c.ID, name: name, running: c.State == "running", ending: ending, handsOver: c.Labels[handoverLabel] != ""})
		}
	}
	return all, nil
}

// putAsideLast returns the newest of the daemon's containers that were put aside, nil if there is none.
func (e *engine) putAsideLast(ctx context.Context, daemon string) (*dockerclient.Container, error) {
	before, err := e.predecessors(ctx, daemon)
	if err != nil || len(before) == 0 {
		return nil, err
	}
	return e.find(ctx, before[0].id)
}

// relieve ends what a daemon that is healthy now took over from, and returns how many still have
// open connections.
func (e *engine) relieve(ctx context.Context, daemon string) (draining int, err error) {
	before, err := e.predecessors(ctx, daemon)
	if err != nil {
		return 0, err
	}
	for _, p := range before {
		patience := endingGlance
		switch {
		case p.running && !p.ending:
			if err := e.tellToEnd(ctx, p, daemon); err != nil {
				return 0, err
			}
		case p.running:
			patience = endingMost
		}
		ended, err := e.hasEnded(ctx, p, patience)
		if err != nil {
			return 0, err
		}
		if !ended && !p.ending {
			draining++
			continue
		}
		if err := removeContainer(ctx, e.client, p.id); err != nil {
			return 0, err
		}
	}
	return draining, nil
}

// tellToEnd tells a container once that it is to end. A second signal would not let it drain.
func (e *engine) tellToEnd(ctx context.Context, p predecessor, daemon string) error {
	if err := e.setRestart(ctx, p, dockerclient.NeverRestart()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := e.client.KillContainer(dockerclient.KillContainerOptions{ID: p.id, Signal: dockerclient.SIGTERM, Context: ctx})
	var refused *dockerclient.Error
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		return nil // it has ended by itself
	}
	if err != nil && !docker.IsNotFound(err) {
		return fmt.Errorf("end container %s: %w", p.name, err)
	}
	return e.rename(ctx, p.id, daemon+endingInfix+shortID(p.id))
}

// hasEnded waits until the container does not run any more.
func (e *engine) hasEnded(ctx context.Context, p predecessor, patience time.Duration) (bool, error) {
	if !p.running {
		return true, nil
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := e.client.WaitContainerWithContext(p.id, limited)
	if limited.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil && !docker.IsNotFound(err) {
		return false, fmt.Errorf("wait for container %s: %w", p.name, err)
	}
	return true, nil
}

// restore puts the newest of a daemon's containers back that another was to take over from, which is
// removed; unless there is none.
func (e *engine) restore(ctx context.Context, daemon string) (did bool, err error) {
	before, err := e.predecessors(ctx, daemon)
	if err != nil {
		return false, err
	}
	for _, p := range before {
		if p.ending {
			continue
		}
		failed, err := e.find(ctx, daemon)
		if err == nil && failed != nil {
			err = removeContainer(ctx, e.client, failed.ID)
		}
		if err == nil {
			err = e.rename(ctx, p.id, daemon)
		}
		if err == nil {
			err = e.setRestart(ctx, p, dockerclient.AlwaysRestart())
		}
		if err == nil && !p.running {
			err = e.start(ctx, p.id)
		}
		return err == nil, err
	}
	return false, nil
}
