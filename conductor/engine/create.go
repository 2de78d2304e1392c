package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// Create makes the container of a spec and the volumes that it mounts, without starting it. It
// returns ErrNoImage if the image is not on the host; a container of the same name and instance
// counts as made.
func (e *Engine) Create(ctx context.Context, spec Spec) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return "", err
	}
	for _, mount := range spec.Mounts {
		if err := e.ensureVolume(ctx, client, mount); err != nil {
			return "", err
		}
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

// logConfig bounds what a container's log takes of the disk: Docker's default does not.
var logConfig = dockerclient.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}}

func (e *Engine) createOptions(spec Spec) dockerclient.CreateContainerOptions {
	exposed, bindings := e.publish(spec)
	return dockerclient.CreateContainerOptions{
		Name: spec.Name,
		Config: &dockerclient.Config{
			Image: spec.Image, Entrypoint: spec.Entrypoint, Cmd: spec.Command, Env: spec.Env, User: spec.User,
			WorkingDir: spec.WorkingDir, Hostname: spec.Hostname, Labels: spec.labels(e.Cluster()), ExposedPorts: exposed,
		},
		HostConfig: &dockerclient.HostConfig{
			NetworkMode:  Network,
			PortBindings: bindings,
			Mounts:       e.mounts(spec.Mounts),
			Memory:       spec.Memory,
			// Docker refuses a limit above what the host has, which limits nothing.
			NanoCPUs: int64(min(spec.CPUs, float64(runtime.NumCPU())) * 1e9),
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

// publish is how Docker is to publish the spec's ports. One that is fixed is the public's too; the
// cluster reaches it as any other, at the host's address.
func (e *Engine) publish(spec Spec) (map[dockerclient.Port]struct{}, map[dockerclient.Port][]dockerclient.PortBinding) {
	exposed := map[dockerclient.Port]struct{}{}
	bindings := map[dockerclient.Port][]dockerclient.PortBinding{}
	for _, port := range spec.Ports {
		p := dockerclient.Port(port.String())
		exposed[p] = struct{}{}
		fixed := spec.HostPorts[port]
		switch {
		case fixed == 0:
			bindings[p] = []dockerclient.PortBinding{{HostIP: e.HostIP}}
		case e.PublicIP == "":
			bindings[p] = []dockerclient.PortBinding{{HostIP: "0.0.0.0", HostPort: strconv.Itoa(fixed)}}
		default:
			bindings[p] = []dockerclient.PortBinding{{HostIP: e.HostIP, HostPort: strconv.Itoa(fixed)}}
			if e.PublicIP != e.HostIP {
				bindings[p] = append(bindings[p], dockerclient.PortBinding{HostIP: e.PublicIP, HostPort: strconv.Itoa(fixed)})
			}
		}
	}
	return exposed, bindings
}
