package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// insideTimeout is how long a helper may take that does one thing and ends.
const insideTimeout = 30 * time.Second

// runInside runs our own image once among the processes of a container, with what it takes to see
// and end those, and waits for its end.
func (e *Engine) runInside(ctx context.Context, container string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, insideTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	self, err := e.self(ctx, client)
	if err != nil {
		return err
	}
	made, err := client.CreateContainer(dockerclient.CreateContainerOptions{
		Context: ctx,
		Config:  &dockerclient.Config{Image: self.Image, Cmd: args, Labels: map[string]string{labelHelper: "1"}},
		HostConfig: &dockerclient.HostConfig{PidMode: "container:" + container, NetworkMode: "none", AutoRemove: true, ReadonlyRootfs: true,
			CapDrop: []string{"ALL"}, CapAdd: []string{"KILL", "SYS_PTRACE", "DAC_READ_SEARCH"},
			// The default profile does not let it see, or signal, what is not of that profile.
			SecurityOpt: []string{"apparmor=unconfined"},
			LogConfig:   dockerclient.LogConfig{Type: "none"}},
	})
	if err != nil {
		return fmt.Errorf("create helper: %w", err)
	}
	// Asked before it starts: once it has ended there is nobody to ask about.
	resp, err := e.Docker.Do(ctx, http.MethodPost, "/containers/"+made.ID+"/wait?condition=removed", nil)
	if err == nil {
		defer resp.Body.Close()
		err = client.StartContainerWithContext(made.ID, nil, ctx)
	}
	if err != nil {
		e.removeHelper(ctx, client, made.ID)
		return fmt.Errorf("start helper: %w", err)
	}
	var ended struct{ StatusCode int }
	if err := json.NewDecoder(resp.Body).Decode(&ended); err != nil {
		return fmt.Errorf("wait for helper: %w", err)
	}
	if ended.StatusCode != 0 {
		return fmt.Errorf("the helper ended with code %d: %s", ended.StatusCode, strings.Join(args, " "))
	}
	return nil
}

// removeHelper removes one that did not start.
func (e *Engine) removeHelper(ctx context.Context, client *dockerclient.Client, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quickTimeout)
	defer cancel()
	if err := client.RemoveContainer(dockerclient.RemoveContainerOptions{ID: id, Force: true, Context: ctx}); err != nil {
		e.Log.Warn("a helper could not be removed", "container", id, "err", err)
	}
}

// self is the container that this process runs in, or ErrNoContainer.
func (e *Engine) self(ctx context.Context, client *dockerclient.Client) (*dockerclient.Container, error) {
	own, err := ownContainer()
	if err != nil {
		return nil, err
	}
	self, err := client.InspectContainerWithOptions(dockerclient.InspectContainerOptions{ID: own, Context: ctx})
	if err != nil {
		return nil, fmt.Errorf("inspect own container: %w", err)
	}
	return self, nil
}
