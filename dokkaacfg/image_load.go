package dokkaacfg

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// hasImage tells whether the engine has the image, and if not, whether it has all layers of it.
func (e *engine) hasImage(ctx context.Context, image imageFile) (has, layers bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var found *dockerclient.Image
	err = bounded(ctx, func() (err error) {
		found, err = e.client.InspectImage(image.tag) // which takes no context
		return err
	})
	if docker.IsNotFound(err) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("look for image %s: %w", image.tag, err)
	}
	layers = found.RootFS != nil && slices.Equal(found.RootFS.Layers, image.layers)
	return found.ID == image.id || layers && image.describes(found.Config), layers, nil
}

// describes tells whether the image is what an engine shows, by all but its id: one that keeps images as
// containerd does has ids of its own.
func (i imageFile) describes(shown *dockerclient.Config) bool {
	own := i.settings
	return shown != nil && slices.Equal(own.Entrypoint, shown.Entrypoint) && slices.Equal(own.Cmd, shown.Cmd) && slices.Equal(own.Env, shown.Env) &&
		maps.Equal(own.Labels, shown.Labels) && reflect.DeepEqual(own.Healthcheck, shown.Healthcheck) && maps.Equal(own.Volumes, shown.Volumes)
}

// load loads an image, unless the engine has it, and tells how many bytes it sent for that; meanwhile,
// how many of how many. An engine that has the layers is sent the image's description alone; one that
// does not take that gets all.
func (e *engine) load(ctx context.Context, image imageFile, sent func(n, of int64)) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	has, layers, err := e.hasImage(ctx, image)
	if err != nil || has {
		return 0, err
	}
	if layers {
		description := image.withoutLayers()
		if err := e.loadArchive(ctx, bytes.NewReader(description)); err == nil {
			if has, _, err := e.hasImage(ctx, image); err != nil || has {
				return int64(len(description)), err
			}
		}
	}
	file, err := os.Open(image.path)
	if err != nil {
		return 0, fmt.Errorf("load image %s: %w", image.tag, err)
	}
	defer file.Close()
	counted := &countingReader{from: file, tell: func(n int64) { sent(n, image.size) }}
	if err := e.loadArchive(ctx, counted); err != nil {
		return counted.n, fmt.Errorf("load image %s: %w", image.tag, err)
	}
	// An engine tells of some errors only in the text that it sends meanwhile.
	if _, err := e.imageID(ctx, image.tag); err != nil {
		return counted.n, fmt.Errorf("load image %s: %w", image.tag, err)
	}
	return counted.n, nil
}

func (e *engine) loadArchive(ctx context.Context, archive io.Reader) error {
	return e.client.LoadImage(dockerclient.LoadImageOptions{InputStream: archive, OutputStream: io.Discard, Context: ctx})
}
