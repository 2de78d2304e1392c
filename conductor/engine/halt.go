package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// Halt ends a container, with SIGTERM and after grace with SIGKILL, and keeps it. One that does not
// run, or is gone, already counts as ended.
func (e *Engine) Halt(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	err = client.StopContainerWithContext(id, uint(grace.Seconds()), ctx)
	var notRunning *dockerclient.ContainerNotRunning
	if err != nil && !errors.As(err, &notRunning) && !docker.IsNotFound(err) {
		return fmt.Errorf("stop container: %w", err)
	}
	return nil
}
