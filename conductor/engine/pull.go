package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"
	"golang.org/x/sync/singleflight"
)

// ErrNoImage says that an image is not on the host.
var ErrNoImage = errors.New("image is not on this host")

// pulls lets each image be pulled once at a time.
type pulls struct {
	flight singleflight.Group
}

// Pull fetches an image from its registry. It blocks until it is there, which may take minutes;
// a second pull of the same image waits for the first.
func (e *Engine) Pull(ctx context.Context, image string) error {
	done := e.pulls.flight.DoChan(image, func() (any, error) {
		// Not the caller's context: another caller may be waiting for the same pull.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullTimeout)
		defer cancel()
		return nil, e.pull(ctx, image)
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) pull(ctx context.Context, image string) error {
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	repository, tag := splitImage(image)
	err = client.PullImage(dockerclient.PullImageOptions{Repository: repository, Tag: tag, OutputStream: io.Discard,
		InactivityTimeout: pullSilence, Context: ctx}, dockerclient.AuthConfiguration{})
	if err != nil {
		return fmt.Errorf("pull image %s: %w", image, err)
	}
	return nil
}

// splitImage takes the tag off an image's name, "latest" where there is none. The name of a
// digest stays whole: Docker takes "name@sha256:…" as the repository.
func splitImage(image string) (repository, tag string) {
	if strings.Contains(image, "@") {
		return image, ""
	}
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[:i], image[i+1:]
	}
	return image, "latest"
}
