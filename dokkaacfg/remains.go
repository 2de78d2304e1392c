package dokkaacfg

import (
	"context"
	"fmt"
	"os"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// remain is something of ours on an engine that is not ours alone.
type remain struct {
	what   string
	remove func(context.Context) error
}

// remains is all that is to be removed, in the order in which it can be.
func (o *ownEngine) remains(ctx context.Context) ([]remain, error) {
	all, err := remainsOn(ctx, o.engine)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.keep); err == nil {
		all = append(all, remain{what: "directory " + o.keep, remove: func(context.Context) error { return os.RemoveAll(o.keep) }})
	}
	return all, nil
}

// removeRemains removes all that is ours from an engine. What goes meanwhile is no error.
func removeRemains(ctx context.Context, engine *docker.Engine) error {
	remains, err := remainsOn(ctx, engine)
	if err != nil {
		return err
	}
	return removeAll(ctx, remains)
}

func removeAll(ctx context.Context, remains []remain) error {
	for _, r := range remains {
		if err := r.remove(ctx); err != nil && !docker.IsNotFound(err) {
			return fmt.Errorf("remove %s: %w", r.what, err)
		}
	}
	return nil
}

// remainsOn is all that is ours on an engine.
func remainsOn(ctx context.Context, engine *docker.Engine) ([]remain, error) {
	client, err := engine.Client(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	all, err := remainingContainers(ctx, client)
	if err != nil {
		return nil, err
	}
	for _, list := range []func(context.Context, *dockerclient.Client) ([]remain, error){remainingVolumes, remainingNetworks, remainingImages} {
		more, err := list(ctx, client)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// ourContainers are the daemons, the conductor's helpers, and all that it runs.
func ourContainers(ctx context.Context, client *dockerclient.Client) ([]dockerclient.APIContainers, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var all []dockerclient.APIContainers
	// The conductor first, or it would start again what is removed.
	for _, label := range []string{daemonLabel, "dokkaa.helper", "dokkaa.app"} {
		found, err := client.ListContainers(dockerclient.ListContainersOptions{
			All: true, Filters: map[string][]string{"label": {label}}, Context: ctx,
		})
		if err != nil {
			return nil, fmt.Errorf("list containers: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func remainingContainers(ctx context.Context, client *dockerclient.Client) ([]remain, error) {
	containers, err := ourContainers(ctx, client)
	var all []remain
	for _, c := range containers {
		all = append(all, remain{
			what:   "container " + strings.TrimPrefix(strings.Join(c.Names, " "), "/"),
			remove: func(ctx context.Context) error { return removeContainer(ctx, client, c.ID) },
		})
	}
	return all, err
}

// remainingVolumes are etcd's and those that the conductor made for manifests.
func remainingVolumes(ctx context.Context, client *dockerclient.Client) ([]remain, error) {
	volumes, err := client.ListVolumes(dockerclient.ListVolumesOptions{Context: ctx})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var all []remain
	for _, volume := range volumes {
		if _, made := volume.Labels[volumeLabel]; !made && volume.Name != etcdVolume {
			continue
		}
		all = append(all, remain{what: "volume " + volume.Name, remove: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			return client.RemoveVolumeWithOptions(dockerclient.RemoveVolumeOptions{Name: volume.Name, Context: ctx})
		}})
	}
	return all, nil
}

// remainingNetworks is the bridge that the conductor made.
func remainingNetworks(ctx context.Context, client *dockerclient.Client) ([]remain, error) {
	var networks []dockerclient.Network
	err := bounded(ctx, func() (err error) {
		networks, err = client.FilteredListNetworks(dockerclient.NetworkFilterOpts{"label": {"dokkaa.network": true}})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var all []remain
	for _, network := range networks {
		all = append(all, remain{what: "network " + network.Name, remove: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			return bounded(ctx, func() error { return client.RemoveNetwork(network.ID) })
		}})
	}
	return all, nil
}

// remainingImages are the images that were built with Dokkaa.
func remainingImages(ctx context.Context, client *dockerclient.Client) ([]remain, error) {
	images, err := client.ListImages(dockerclient.ListImagesOptions{Filters: map[string][]string{"label": {imageLabel}}, Context: ctx})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var all []remain
	for _, image := range images {
		all = append(all, remain{what: "image " + strings.Join(image.RepoTags, " "), remove: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			return client.RemoveImageExtended(image.ID, dockerclient.RemoveImageOptions{Force: true, Context: ctx})
		}})
	}
	return all, nil
}

// bounded gives a request of go-dockerclient that takes no context the deadline of ctx. The
// request itself may go on until the engine answers; what it returns then is dropped.
func bounded(ctx context.Context, request func() error) error {
	done := make(chan error, 1)
	go func() { done <- request() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
