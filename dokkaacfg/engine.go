package dokkaacfg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

const (
	requestTimeout = 30 * time.Second
	loadTimeout    = 30 * time.Minute // of one image, on a slow line
	healthTimeout  = 8 * time.Second  // more than a HEALTHCHECK takes
	underWayPause  = 100 * time.Millisecond
)

// engine is the Docker Engine of a host, with the few things that are asked of it here.
type engine struct {
	client *dockerclient.Client
}

func connect(ctx context.Context, host Host, log *slog.Logger) (*engine, error) {
	connection, err := engineOf(host, log)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", host.IP(), err)
	}
	client, err := connection.Client(ctx)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", host.IP(), err)
	}
	return &engine{client: client}, nil
}

func (e *engine) imageID(ctx context.Context, tag string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// go-dockerclient has no InspectImage that takes a context.
	images, err := e.client.ListImages(dockerclient.ListImagesOptions{Filters: map[string][]string{"reference": {tag}}, Context: ctx})
	if err != nil {
		return "", fmt.Errorf("look for image %s: %w", tag, err)
	}
	if len(images) == 0 {
		return "", fmt.Errorf("look for image %s: %w", tag, dockerclient.ErrNoSuchImage)
	}
	return images[0].ID, nil
}

// find returns the container of the name, nil if there is none.
func (e *engine) find(ctx context.Context, name string) (*dockerclient.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	container, err := e.client.InspectContainerWithOptions(dockerclient.InspectContainerOptions{ID: name, Context: ctx})
	if docker.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", name, err)
	}
	return container, nil
}

// run makes sure that the daemon runs as described, and says what it did for that: "" if it
// ran. A container of that name that is not ours is left alone, and is an error.
//
// An engine still works on what one who was killed had asked of it: a container that was not
// there a moment ago can be there now, or its name be taken before it can be seen.
func (e *engine) run(ctx context.Context, d daemonSpec) (did string, err error) {
	deadline := time.Now().Add(requestTimeout)
	for {
		did, err = e.runOnce(ctx, d)
		if !isUnderWay(err) || time.Now().After(deadline) {
			return did, err
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(underWayPause):
		}
	}
}

// isCurrent tells whether a daemon that runs is as described. One that does not run, or not at all, is not
// to be replaced.
func (e *engine) isCurrent(ctx context.Context, d daemonSpec) (bool, error) {
	existing, err := e.find(ctx, d.name)
	if err != nil || existing == nil || !existing.State.Running {
		return true, err
	}
	imageID, err := e.imageID(ctx, d.image())
	if err != nil {
		return false, err
	}
	d.keep(existing.Config.Env)
	return existing.Config.Labels[configLabel] == d.digest(imageID), nil
}

// isUnderWay tells of an error that another request to the engine is the cause of.
func isUnderWay(err error) bool {
	var refused *dockerclient.Error
	return errors.Is(err, dockerclient.ErrContainerAlreadyExists) || errors.As(err, &refused) && refused.Status == http.StatusConflict
}

func (e *engine) runOnce(ctx context.Context, d daemonSpec) (did string, err error) {
	imageID, err := e.imageID(ctx, d.image())
	if err != nil {
		return "", err
	}
	existing, err := e.find(ctx, d.name)
	if err != nil {
		return "", err
	}
	former := existing
	if existing == nil {
		if former, err = e.putAsideLast(ctx, d.name); err != nil {
			return "", err
		}
	}
	if former != nil && isOurs(former, d.name) {
		d.keep(former.Config.Env)
		d.keepOnce(former.Config.Env)
	}
	digest := d.digest(imageID)
	did = "started"
	if existing != nil {
		switch {
		case !isOurs(existing, d.name):
			return "", errors.New("there is a container of that name that Dokkaa did not make")
		case existing.Config.Labels[configLabel] == digest && existing.State.Running:
			return "", nil
		case existing.Config.Labels[configLabel] == digest:
			return "started again", e.startAfter(ctx, existing.ID, d.name)
		}
		if err := e.makeWay(ctx, existing, d.name); err != nil {
			return "", err
		}
		did = "replaced"
	}
	id, err := e.create(ctx, d, digest)
	if err != nil {
		return "", err
	}
	return did, e.startAfter(ctx, id, d.name)
}

// makeWay gives the name of a container free for the one that is to take its place.
func (e *engine) makeWay(ctx context.Context, existing *dockerclient.Container, name string) error {
	if existing.State.Running {
		return e.putAside(ctx, existing, name)
	}
	return removeContainer(ctx, e.client, existing.ID)
}

// isOurs tells whether the container is the daemon's, made by us.
func isOurs(container *dockerclient.Container, name string) bool {
	return container.Config != nil && container.Config.Labels[daemonLabel] == name
}

// keepOnce takes the variables that were set for the first container over from it.
func (d *daemonSpec) keepOnce(env []string) {
	for i, setting := range d.once {
		name, _, _ := strings.Cut(setting, "=")
		if value, ok := lookup(env, name); ok {
			d.once[i] = name + "=" + value
		}
	}
}

// lookup finds a variable in a container's environment.
func lookup(env []string, name string) (string, bool) {
	for _, setting := range env {
		if value, ok := strings.CutPrefix(setting, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

func (e *engine) create(ctx context.Context, d daemonSpec, digest string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	container, err := e.client.CreateContainer(dockerclient.CreateContainerOptions{
		Name: d.name,
		Config: &dockerclient.Config{
			Image:  d.image(),
			Env:    append(append([]string{}, d.env...), d.once...),
			Labels: map[string]string{daemonLabel: d.name, configLabel: digest},
		},
		HostConfig: &dockerclient.HostConfig{
			NetworkMode:   "host",
			RestartPolicy: dockerclient.AlwaysRestart(),
			Binds:         d.binds,
			CapAdd:        d.capabilities(),
			LogConfig:     dockerclient.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}},
		},
		Context: ctx,
	})
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", d.name, err)
	}
	return container.ID, nil
}

func (e *engine) start(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := e.client.StartContainerWithContext(id, nil, ctx)
	var running *dockerclient.ContainerAlreadyRunning
	if err != nil && !errors.As(err, &running) {
		return fmt.Errorf("start container: %w", err)
	}
	return nil
}

func removeContainer(ctx context.Context, client *dockerclient.Client, id string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := client.RemoveContainer(dockerclient.RemoveContainerOptions{ID: id, Force: true, RemoveVolumes: true, Context: ctx})
	if err != nil && !docker.IsNotFound(err) {
		return fmt.Errorf("remove container: %w", err)
	}
	return nil
}

// healthy asks the daemon what its image's HEALTHCHECK asks, without waiting for Docker's turn.
func (e *engine) healthy(ctx context.Context, name string) error { return e.healthyIn(ctx, name, name) }

// healthyIn asks the daemon of a container that has another name, or none.
func (e *engine) healthyIn(ctx context.Context, container, name string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	exec, err := e.client.CreateExec(dockerclient.CreateExecOptions{
		Container: container, Cmd: []string{"/" + name, "--healthcheck"}, AttachStdout: true, AttachStderr: true, Context: ctx,
	})
	if err != nil {
		return fmt.Errorf("check health of %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := e.client.StartExec(exec.ID, dockerclient.StartExecOptions{OutputStream: &out, ErrorStream: &out, Context: ctx}); err != nil {
		return fmt.Errorf("check health of %s: %w", name, err)
	}
	var result *dockerclient.ExecInspect
	err = bounded(ctx, func() (err error) {
		result, err = e.client.InspectExec(exec.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("check health of %s: %w", name, err)
	}
	if result.ExitCode != 0 {
		return fmt.Errorf("%s is not healthy: %s", name, strings.TrimSpace(out.String()))
	}
	return nil
}

// logs are the last lines that a container wrote since a time, or ever.
func (e *engine) logs(ctx context.Context, name string, since time.Time, lines string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	options := dockerclient.LogsOptions{Container: name, Stdout: true, Stderr: true, Tail: lines, Context: ctx}
	var out bytes.Buffer
	options.OutputStream, options.ErrorStream = &out, &out
	if !since.IsZero() {
		options.Since = since.Unix()
	}
	if err := e.client.Logs(options); err != nil {
		return "", fmt.Errorf("read log of %s: %w", name, err)
	}
	return out.String(), nil
}
