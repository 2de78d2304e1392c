package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strconv"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/state"
)

// Mount is a named volume that a container has at a path. The volume outlives the container.
type Mount struct {
	state.Volume        // what it is
	Name         string // in Docker
	Path         string
	DriverOpts   map[string]string
	ReadOnly     bool
}

// ensureVolume makes the volume of a mount unless it is there. One that Docker made otherwise, or
// that is not ours, is refused: what is in it is not what the manifest means.
func (e *Engine) ensureVolume(ctx context.Context, client *dockerclient.Client, m Mount) error {
	_, err := client.CreateVolume(dockerclient.CreateVolumeOptions{Name: m.Name, Driver: m.Driver, DriverOpts: m.DriverOpts,
		Labels: volumeLabels(m.Volume, e.Cluster()), Context: ctx})
	if err != nil {
		return fmt.Errorf("create volume %s: %w", m.Name, err)
	}
	// The answer says nothing of the labels and options of one that is older than the Engine's process.
	var made dockerclient.Volume
	switch err := e.Docker.Get(ctx, "/volumes/"+url.PathEscape(m.Name), nil, &made); {
	case err != nil:
		return fmt.Errorf("inspect volume %s: %w", m.Name, err)
	case made.Labels[LabelCluster] != e.Cluster():
		return fmt.Errorf("the name %s is taken by a volume that is not of this cluster", m.Name)
	case !maps.Equal(made.Options, m.DriverOpts):
		return fmt.Errorf("volume %s was made with other driver_opts, which can't be changed: remove it, or give it another name", m.Name)
	}
	return nil
}

// mounts is how Docker is to mount the volumes. The labels are for one that somebody removes between
// its creation and the container's.
func (e *Engine) mounts(all []Mount) []dockerclient.HostMount {
	var mounts []dockerclient.HostMount
	for _, m := range all {
		mounts = append(mounts, dockerclient.HostMount{Type: "volume", Source: m.Name, Target: m.Path, ReadOnly: m.ReadOnly,
			VolumeOptions: &dockerclient.VolumeOptions{Labels: volumeLabels(m.Volume, e.Cluster()),
				DriverConfig: dockerclient.VolumeDriverConfig{Name: m.Driver, Options: m.DriverOpts}}})
	}
	return mounts
}

func volumeLabels(v state.Volume, cluster string) map[string]string {
	return map[string]string{LabelCluster: cluster, LabelApp: v.App, LabelName: v.Name, LabelSlot: strconv.Itoa(v.Slot), LabelVolume: v.Volume}
}

// readVolume is what the labels say; ok is false if they are not what we write.
func readVolume(v dockerclient.Volume) (volume state.Volume, ok bool) {
	slot, err := strconv.Atoi(v.Labels[LabelSlot])
	volume = state.Volume{Ref: state.Ref{App: v.Labels[LabelApp], Name: v.Labels[LabelName]}, Slot: slot,
		Volume: v.Labels[LabelVolume], Driver: v.Driver}
	return volume, err == nil && volume.App != "" && volume.Name != "" && volume.Volume != ""
}

// Volumes returns the cluster's volumes on this host by their names in Docker, used or not. It fails
// if Docker does not know all: a driver does not answer.
func (e *Engine) Volumes(ctx context.Context) (map[string]state.Volume, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var answer struct {
		Volumes  []dockerclient.Volume
		Warnings []string
	}
	query := docker.Filters(map[string][]string{"label": {LabelCluster + "=" + e.Cluster()}})
	if err := e.Docker.Get(ctx, "/volumes", query, &answer); err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	if len(answer.Warnings) > 0 {
		return nil, fmt.Errorf("list volumes: Docker does not know all of them: %s", answer.Warnings[0])
	}
	all := map[string]state.Volume{}
	for _, v := range answer.Volumes {
		if volume, ok := readVolume(v); ok {
			all[v.Name] = volume
		} else {
			e.Log.Warn("volume with incomplete labels is left alone", "volume", v.Name)
		}
	}
	return all, nil
}

var volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`) // of Docker

// RemoveVolume removes a volume of the cluster's with all that is in it, unless a container has it.
// One that is gone counts as removed.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	if !volumeName.MatchString(name) {
		return fmt.Errorf("%q is not the name of a volume", name)
	}
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	var volume dockerclient.Volume
	switch err := e.Docker.Get(ctx, "/volumes/"+url.PathEscape(name), nil, &volume); {
	case docker.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("inspect volume: %w", err)
	case volume.Labels[LabelCluster] != e.Cluster():
		return errors.New("is not a volume of this cluster")
	}
	err = client.RemoveVolumeWithOptions(dockerclient.RemoveVolumeOptions{Name: name, Context: ctx})
	if err != nil && !docker.IsNotFound(err) {
		return fmt.Errorf("remove volume: %w", err)
	}
	return nil
}
