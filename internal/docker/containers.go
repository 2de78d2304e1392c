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
	// Published are its TCP ports, by the host's address and port that lead to them.
	Published map[netip.AddrPort]uint16
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
		containers = append(containers, Container{ID: c.ID, Name: nameOf(c), State: c.State, Labels: c.Labels,
			Addrs: addrsOf(c.Networks.Networks), Published: publishedOf(c.Ports)})
	}
	return containers, nil
}

// AddressNow asks for the first address that the running container has on the network now. The answer
// is true of one moment between question and answer, unlike a list: the Engine gives it while nothing
// happens to the container. It errs if the container does not run or is not on the network.
func (e *Engine) AddressNow(ctx context.Context, id, network string) (addr netip.Addr, err error) {
	client, err := e.Client(ctx)
	if err != nil {
		return addr, err
	}
	c, err := client.InspectContainerWithOptions(dockerclient.InspectContainerOptions{ID: id, Context: ctx})
	if err != nil {
		return addr, fmt.Errorf("inspect container: %w", err)
	}
	if c.State.Running && c.NetworkSettings != nil {
		if addrs := addrsOf(c.NetworkSettings.Networks)[network]; len(addrs) > 0 {
			return addrs[0], nil
		}
	}
	return addr, fmt.Errorf("inspect container: it has no address on network %s", network)
}

func publishedOf(ports []dockerclient.APIPort) map[netip.AddrPort]uint16 {
	var published map[netip.AddrPort]uint16
	for _, port := range ports {
		addr, err := netip.ParseAddr(port.IP)
		if err != nil || port.Type != "tcp" || port.PublicPort <= 0 || port.PublicPort > 65535 || port.PrivatePort > 65535 {
			continue
		}
		if published == nil {
			published = make(map[netip.AddrPort]uint16)
		}
		published[netip.AddrPortFrom(addr.Unmap(), uint16(port.PublicPort))] = uint16(port.PrivatePort)
	}
	return published
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
func addrsOf(networks map[string]dockerclient.ContainerNetwork) map[string][]netip.Addr {
	addrs := make(map[string][]netip.Addr, len(networks))
	for network, settings := range networks {
		for _, text := range []string{settings.IPAddress, settings.GlobalIPv6Address} {
			if addr, err := netip.ParseAddr(text); err == nil {
				addrs[network] = append(addrs[network], addr.Unmap())
			}
		}
	}
	return addrs
}
