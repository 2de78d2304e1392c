package dokkaacfg

import (
	"context"
	"fmt"
	"slices"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

const imageTitle = "org.opencontainers.image.title"

// removeOldImages removes images of our daemons that are neither the latest nor any container's.
func (e *engine) removeOldImages(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	images, err := e.client.ListImages(dockerclient.ListImagesOptions{Filters: map[string][]string{"label": {imageLabel}}, Context: ctx})
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, image := range images {
		if !isOldDaemon(image) {
			continue
		}
		names := slices.DeleteFunc(image.RepoTags, func(tag string) bool { return tag == "<none>:<none>" })
		if len(names) == 0 {
			names = []string{image.ID}
		}
		for _, name := range names {
			// An engine refuses to remove what a container has.
			err := e.client.RemoveImageExtended(name, dockerclient.RemoveImageOptions{Context: ctx})
			if err != nil && !docker.IsNotFound(err) && !isUnderWay(err) {
				return fmt.Errorf("remove image %s: %w", name, err)
			}
		}
	}
	return nil
}

// isOldDaemon tells whether the image is one of our daemons', and another is the latest.
func isOldDaemon(image dockerclient.APIImages) bool {
	return slices.ContainsFunc(daemonNames, func(name string) bool {
		d := daemonSpec{name: name}
		return image.Labels[imageTitle] == "dokkaa/"+name && !slices.Contains(image.RepoTags, d.image())
	})
}
