package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	// volumesResync is how often Docker is asked for its volumes when nothing hints at a change.
	volumesResync = 15 * time.Second
	// forgetting is how long it may take that the store holds a removed volume no more.
	forgetting = 5 * time.Second
)

// VolumesHint makes the agent look at the host's volumes, and at what is to be removed of them. It
// never blocks.
func (a *Agent) VolumesHint() {
	select {
	case a.volumesHint <- struct{}{}:
	default:
	}
}

// tendVolumes keeps what is known of the volumes true, and removes those that the operator asks to
// be removed, until ctx ends.
func (a *Agent) tendVolumes(ctx context.Context) {
	said := ""
	assigned := newAssignments(a.HostIP, a.Apps)
	for {
		changed, err := a.volumes.list(ctx, a.Engine.Volumes)
		if err != nil && err.Error() != said && ctx.Err() == nil {
			a.Log.Warn("look at Docker's volumes", "err", err)
		}
		said = fmt.Sprint(err)
		if changed {
			a.Hint()
		}
		a.answerRemovals(ctx, assigned)
		select {
		case <-ctx.Done():
			return
		case <-a.volumesHint:
		case <-time.After(volumesResync):
		}
	}
}

// answerRemovals removes each volume that is asked to be removed, or says why it cannot be. A request
// that was carried out goes.
func (a *Agent) answerRemovals(ctx context.Context, assigned *assignments) {
	if a.Removals == nil {
		return
	}
	requests, apps := a.Removals.Snapshot(), a.Apps.Snapshot()
	if !requests.Known || !apps.Known {
		return
	}
	for request := range requests.All(state.RemovalsDir(a.HostIP)) {
		key, ok := state.ParseHostKey(request.Key)
		if !ok {
			continue
		}
		byInstance, unreadable := assigned.look(apps)
		err := a.needed(key.Item, byInstance, unreadable)
		if err == nil {
			err = a.removeVolume(ctx, key.Item)
		}
		if err == nil {
			err = a.Store.Delete(ctx, request.Key)
		} else {
			err = a.explainRemoval(ctx, request, key.Item, err)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
			a.Log.Warn("answer a request to remove a volume", "volume", key.Item, "err", err)
		}
	}
}

// needed says what on this host needs a volume, nil if nothing does.
func (a *Agent) needed(name string, byInstance map[string]Desired, unreadable map[Place]bool) error {
	for _, d := range byInstance {
		for _, m := range d.Mounts {
			if m.Name == name {
				return fmt.Errorf("slot %d of %s is assigned to this host and needs it", d.Slot, d.Ref)
			}
		}
	}
	there, _ := a.volumes.known()
	volume := there[name]
	for place := range unreadable {
		if place.Ref == volume.Ref {
			return fmt.Errorf("slot %d of %s, which may need it, cannot be read", place.Slot, place.Ref)
		}
	}
	for _, d := range byInstance {
		if d.Ref == volume.Ref && d.Invalid != "" {
			return fmt.Errorf("slot %d of %s, which may need it, cannot be understood: %s", d.Slot, d.Ref, d.Invalid)
		}
	}
	return nil
}

// removeVolume removes a volume from Docker, and returns once the store does not hold it any more.
func (a *Agent) removeVolume(ctx context.Context, name string) error {
	if there, _ := a.volumes.known(); there[name] != (state.Volume{}) {
		if err := a.Engine.RemoveVolume(ctx, name); err != nil {
			return err
		}
		a.Log.Info("volume removed", "volume", name, "reason", "the operator asked for it")
		a.volumes.lose(name)
		a.Hint()
	}
	ctx, cancel := context.WithTimeout(ctx, forgetting)
	defer cancel()
	for !a.publisher.lacks(state.VolumeKey(a.HostIP, name)) {
		if err := sleep(ctx, withdrawPoll); err != nil {
			return errors.New("is removed, but still recorded: etcd cannot be written, or Docker does not say which volumes there are")
		}
	}
	return nil
}

// explainRemoval has the request say why it was not carried out, unless it says so already or is
// withdrawn.
func (a *Agent) explainRemoval(ctx context.Context, request store.Node, name string, why error) error {
	answer, err := json.Marshal(state.Removal{Reason: why.Error()})
	if err != nil {
		panic(err) // a string can be marshalled
	}
	if string(answer) == request.Value || ctx.Err() != nil {
		return nil
	}
	a.Log.Warn("volume is not removed", "volume", name, "reason", why)
	if _, err = a.Store.CompareAndSwap(ctx, request.Key, string(answer), request.Modified); errors.Is(err, store.ErrConflict) {
		return nil // asked again, which is answered again
	}
	return err
}
