package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
	"golang.org/x/sync/singleflight"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// Deadlines of requests to the Engine.
const (
	listTimeout  = 10 * time.Second
	quickTimeout = 30 * time.Second // create, start, rename, remove
	pullTimeout  = 30 * time.Minute
	pullSilence  = 2 * time.Minute // a pull without progress for this long is given up
)

// Options make an Engine.
type Options struct {
	Docker  *docker.Engine
	Cluster func() string // the cluster's id; containers of others are never touched
	HostIP  string        // where services' ports are published
	// Nameservers are asked by containers when ours does not answer.
	Nameservers []string
	Log         *slog.Logger
}

// Engine runs this cluster's containers on one Docker Engine. It is safe for concurrent use.
type Engine struct {
	Options
	pulls       pulls
	inspections singleflight.Group // of the network
}

// New makes an Engine; it does no I/O.
func New(options Options) *Engine { return &Engine{Options: options} }

// List returns every container of the cluster on this host, running or not.
func (e *Engine) List(ctx context.Context) ([]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return nil, err
	}
	listed, err := client.ListContainers(dockerclient.ListContainersOptions{All: true, Context: ctx,
		Filters: map[string][]string{"label": {LabelCluster + "=" + e.Cluster()}}})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	containers := make([]Container, 0, len(listed))
	for _, l := range listed {
		c := Container{ID: l.ID, Status: Status(l.State), Detail: l.Status, Created: time.Unix(l.Created, 0), Ports: publishedPorts(l.Ports)}
		if len(l.Names) > 0 {
			c.Name = strings.TrimPrefix(l.Names[0], "/")
		}
		if addr, err := netip.ParseAddr(l.Networks.Networks[Network].IPAddress); err == nil {
			c.Addr = addr
		}
		if c.identify(l.Labels) {
			containers = append(containers, c)
		} else {
			e.Log.Warn("container with incomplete labels is left alone", "container", c.Name)
		}
	}
	return containers, nil
}

func publishedPorts(ports []dockerclient.APIPort) map[int]int {
	published := make(map[int]int, len(ports))
	for _, p := range ports {
		if p.PublicPort != 0 {
			published[int(p.PrivatePort)] = int(p.PublicPort)
		}
	}
	return published
}

// Clusters returns the ids of all clusters that containers on this host are labelled with.
func (e *Engine) Clusters(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return nil, err
	}
	listed, err := client.ListContainers(dockerclient.ListContainersOptions{All: true, Context: ctx,
		Filters: map[string][]string{"label": {LabelCluster}}})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	clusters := map[string]int{}
	for _, l := range listed {
		clusters[l.Labels[LabelCluster]]++
	}
	return clusters, nil
}

// Create makes the container of a spec, without starting it. It returns ErrNoImage if the
// image is not on the host; a container of the same name and instance counts as made.
func (e *Engine) Create(ctx context.Context, spec Spec) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return "", err
	}
	options := e.createOptions(spec)
	options.Context = ctx
	container, err := client.CreateContainer(options)
	switch {
	case errors.Is(err, dockerclient.ErrNoSuchImage):
		return "", ErrNoImage
	case errors.Is(err, dockerclient.ErrContainerAlreadyExists):
		return e.adopt(ctx, client, spec)
	case err != nil:
		return "", fmt.Errorf("create container: %w", err)
	}
	return container.ID, nil
}

// adopt finds the container that has a spec's name already.
func (e *Engine) adopt(ctx context.Context, client *dockerclient.Client, spec Spec) (string, error) {
	container, err := client.InspectContainerWithOptions(dockerclient.InspectContainerOptions{ID: spec.Name, Context: ctx})
	if err != nil {
		return "", fmt.Errorf("inspect container %s: %w", spec.Name, err)
	}
	labels := container.Config.Labels
	if labels[LabelCluster] != e.Cluster() {
		return "", fmt.Errorf("the name %s is taken by a container that is not of this cluster", spec.Name)
	}
	if labels[LabelInstance] != spec.Instance {
		return "", fmt.Errorf("the name %s is still taken by instance %s", spec.Name, labels[LabelInstance])
	}
	return container.ID, nil
}

// ErrNoNetwork says that a container was made for a network that is gone. Docker will never start
// it, also where there is a new network of this name.
var ErrNoNetwork = errors.New("its network is gone")

// Start starts a created or exited container; one that runs already counts as started. It returns
// ErrNoNetwork where the container has to be made anew.
func (e *Engine) Start(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	err = client.StartContainerWithContext(id, nil, ctx)
	var running *dockerclient.ContainerAlreadyRunning
	switch {
	case err == nil || errors.As(err, &running):
		return nil
	case docker.IsNotFound(err) && strings.Contains(err.Error(), ": network "): // Docker says it in words only
		return fmt.Errorf("start container: %w: %w", ErrNoNetwork, err)
	}
	return fmt.Errorf("start container: %w", err)
}

// Rename gives a container another name, which must be free.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	err = client.RenameContainer(dockerclient.RenameContainerOptions{ID: id, Name: name, Context: ctx})
	if docker.IsConflict(err) {
		if _, taken := e.adopt(ctx, client, Spec{Name: name}); taken != nil && !docker.IsNotFound(taken) {
			err = taken // says by whom
		}
	}
	if err != nil {
		return fmt.Errorf("rename container: %w", err)
	}
	return nil
}

// Stop ends a container, with SIGTERM and after grace with SIGKILL, and removes it with its
// anonymous volumes. One that is gone already counts as stopped.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration) error {
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
	err = client.RemoveContainer(dockerclient.RemoveContainerOptions{ID: id, Force: true, RemoveVolumes: true, Context: ctx})
	if err != nil && !docker.IsNotFound(err) {
		return fmt.Errorf("remove container: %w", err)
	}
	return nil
}

// logConfig bounds what a container's log takes of the disk: Docker's default does not.
var logConfig = dockerclient.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}}

func (e *Engine) createOptions(spec Spec) dockerclient.CreateContainerOptions {
	exposed := map[dockerclient.Port]struct{}{}
	bindings := map[dockerclient.Port][]dockerclient.PortBinding{}
	for _, port := range spec.Ports {
		p := dockerclient.Port(strconv.Itoa(port) + "/tcp")
		exposed[p] = struct{}{}
		bindings[p] = []dockerclient.PortBinding{{HostIP: e.HostIP, HostPort: ""}}
	}
	return dockerclient.CreateContainerOptions{
		Name: spec.Name,
		Config: &dockerclient.Config{
			Image: spec.Image, Cmd: spec.Command, Env: spec.Env,
			Labels: spec.labels(e.Cluster()), ExposedPorts: exposed,
		},
		HostConfig: &dockerclient.HostConfig{
			NetworkMode:  Network,
			PortBindings: bindings,
			// The user's containers find the ambassador by this name, and our nameserver first.
			ExtraHosts: []string{"ambassador:" + NetworkGateway},
			DNS:        append([]string{NetworkGateway}, e.Nameservers...),
			// An image's shell as process 1 would ignore SIGTERM.
			Init: true,
			// Restarting is the conductor's: Docker would revive a container whose slot has moved.
			RestartPolicy: dockerclient.NeverRestart(),
			// Raw sockets would let a container take another's address, and with it its links.
			CapDrop:   []string{"NET_RAW"},
			LogConfig: logConfig,
		},
		NetworkingConfig: &dockerclient.NetworkingConfig{
			EndpointsConfig: map[string]*dockerclient.EndpointConfig{Network: {}},
		},
	}
}
