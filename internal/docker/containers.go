package docker

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// Container is a running container as the Engine lists it.
type Container struct {
	ID     string
	Name   string
	Labels map[string]string
	Addrs  map[string]netip.Addr // by network; without those that have none
}

// Running lists the running containers that have the label ("key" or "key=value").
func (e *Engine) Running(ctx context.Context, label string) ([]Container, error) {
	client, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	listed, err := client.ListContainers(dockerclient.ListContainersOptions{
		Filters: map[string][]string{"label": {label}},
		Context: ctx,
	})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	containers := make([]Container, 0, len(listed))
	for _, c := range listed {
		containers = append(containers, Container{ID: c.ID, Name: nameOf(c), Labels: c.Labels, Addrs: addrsOf(c)})
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
func addrsOf(c dockerclient.APIContainers) map[string]netip.Addr {
	addrs := make(map[string]netip.Addr, len(c.Networks.Networks))
	for network, settings := range c.Networks.Networks {
		if addr, err := netip.ParseAddr(settings.IPAddress); err == nil {
			addrs[network] = addr.Unmap()
		}
	}
	return addrs
}
