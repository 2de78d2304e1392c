package docker

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// Container is a container as the Engine lists it.
type Container struct {
	ID     string
	Name   string
	State  string // "created", "running", "paused", "restarting", "exited", ...
	Labels map[string]string
	Addrs  map[string][]netip.Addr // by network, IPv4 first; without networks where it has none
}

// Runs tells whether the container has processes.
func (c Container) Runs() bool { return c.State == "running" || c.State == "paused" }

// Containers lists the containers that have the label ("key" or "key=value"), in whatever state.
func (e *Engine) Containers(ctx context.Context, label string) ([]Container, error) {
	client, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	listed, err := client.ListContainers(dockerclient.ListContainersOptions{
		All:     true,
		Filters: map[string][]string{"label": {label}},
		Context: ctx,
	})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	containers := make([]Container, 0, len(listed))
	for _, c := range listed {
		containers = append(containers, Container{ID: c.ID, Name: nameOf(c), State: c.State, Labels: c.Labels, Addrs: addrsOf(c)})
	}
	return containers, nil
}

func nameOf(c dockerclient.APIContainers) string {
	for _, name := range c.Names {
		// A legacy link shows as a further name, "/other/alias".
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return c.ID
}

// addrsOf reads the addresses by network: the address beside them is empty for every network
// but the default one, and is gone from newer Engines altogether.
func addrsOf(c dockerclient.APIContainers) map[string][]netip.Addr {
	addrs := make(map[string][]netip.Addr, len(c.Networks.Networks))
	for network, settings := range c.Networks.Networks {
		for _, text := range []string{settings.IPAddress, settings.GlobalIPv6Address} {
			if addr, err := netip.ParseAddr(text); err == nil {
				addrs[network] = append(addrs[network], addr.Unmap())
			}
		}
	}
	return addrs
}
