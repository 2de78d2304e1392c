package engine

import (
	"context"
	"fmt"
	"io"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/state"
)

// Pull fetches an image from its registry, with a login or none. It blocks until it is there, which may take minutes;
// a second pull of the same image waits for the first. It returns ErrImageAbsent where the registry
// says that it has no such image.
func (e *Engine) Pull(ctx context.Context, image string, login Login) error {
	done := e.pulls.DoChan(image, func() (any, error) {
		// Not the caller's context: another caller may be waiting for the same pull.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullTimeout)
		defer cancel()
		return nil, e.pull(ctx, image, login)
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) pull(ctx context.Context, image string, login Login) error {
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	repository, tag := splitImage(image)
	err = client.PullImage(dockerclient.PullImageOptions{Repository: repository, Tag: tag, OutputStream: io.Discard,
		InactivityTimeout: pullSilence, Context: ctx}, login.forDocker(state.RegistryOf(image)))
	switch {
	case err == nil:
		return nil
	case isAbsence(err):
		return fmt.Errorf("pull image %s: %w: %w", image, ErrImageAbsent, login.explain(err, image))
	}
	return fmt.Errorf("pull image %s: %w", image, login.explain(err, image))
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
