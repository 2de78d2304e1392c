package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// ownEngine is a cluster of one host: this machine, with the Docker Engine that is there. What
// runs on the engine beside Dokkaa is not touched.
type ownEngine struct {
	reason string // why it is not virtual hosts
	engine *docker.Engine
	ip     netip.Addr
}

func newOwnEngine(_ commandLine, reason string, log *slog.Logger) (provider, error) {
	engine, err := docker.New(cmp.Or(os.Getenv("DOCKER_HOST"), docker.DefaultHost), log)
	if err != nil {
		return nil, usageError{fmt.Sprintf("DOCKER_HOST: %v", err)}
	}
	ip, err := primaryAddress()
	if err != nil {
		return nil, err
	}
	return &ownEngine{reason: reason, engine: engine, ip: ip}, nil
}

// primaryAddress is the machine's IPv4 address on its way to the world. Nothing is sent.
func primaryAddress() (netip.Addr, error) {
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find this machine's address: %w", err)
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, errors.New("find this machine's address: it has none")
	}
	return local.AddrPort().Addr().Unmap(), nil
}

func (o *ownEngine) IP() netip.Addr     { return o.ip }
func (o *ownEngine) DockerHost() string { return o.engine.Host() }

func (o *ownEngine) describe() string {
	return fmt.Sprintf("one host, this machine with its own Docker Engine (%s)", o.reason)
}

func (o *ownEngine) prepare(ctx context.Context, p *progress) error {
	client, err := o.engine.Client(ctx)
	if err != nil {
		return fmt.Errorf("%w\nInstall and start Docker, or run this as root on Linux", err)
	}
	version, err := client.VersionWithContext(ctx)
	if err != nil {
		return fmt.Errorf("ask Docker for its version: %w", err)
	}
	p.done("Docker Engine %s at %s", version.Get("Version"), o.engine.Host())
	return nil
}

func (o *ownEngine) maxScale() int { return 1 }

func (o *ownEngine) up(context.Context, int) ([]Host, error) { return []Host{o}, nil }

func (o *ownEngine) hosts(ctx context.Context) ([]Host, error) {
	containers, err := o.containers(ctx)
	if err != nil || len(containers) == 0 {
		return nil, err
	}
	return []Host{o}, nil
}

// containers are the daemons, the conductor's helpers, and all that it runs.
func (o *ownEngine) containers(ctx context.Context) ([]dockerclient.APIContainers, error) {
	client, err := o.engine.Client(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var all []dockerclient.APIContainers
	// The conductor first, or it would start again what is removed.
	for _, label := range []string{daemonLabel, "dokkaa.helper", "dokkaa.app"} {
		found, err := client.ListContainers(dockerclient.ListContainersOptions{
			All: true, Filters: map[string][]string{"label": {label}}, Context: ctx,
		})
		if err != nil {
			return nil, fmt.Errorf("list containers: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func (o *ownEngine) leftovers(ctx context.Context) ([]string, error) {
	containers, err := o.containers(ctx)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, c := range containers {
		all = append(all, fmt.Sprintf("container %s", c.Names[0][1:]))
	}
	client, err := o.engine.Client(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	volumes, err := client.ListVolumes(dockerclient.ListVolumesOptions{Filters: map[string][]string{"name": {etcdVolume}}, Context: ctx})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	for _, volume := range volumes {
		if volume.Name == etcdVolume {
			all = append(all, "volume "+etcdVolume)
		}
	}
	networks, err := networks(client)
	if err != nil {
		return nil, err
	}
	for range networks {
		all = append(all, "network "+bridgeNetwork)
	}
	return all, nil
}

// networks is the bridge that the conductor made, if it is there.
func networks(client *dockerclient.Client) ([]dockerclient.Network, error) {
	all, err := client.FilteredListNetworks(dockerclient.NetworkFilterOpts{"name": {bridgeNetwork: true}})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var ours []dockerclient.Network
	for _, network := range all { // the filter takes a part of the name for it
		if network.Name == bridgeNetwork && len(network.Labels) > 0 {
			ours = append(ours, network)
		}
	}
	return ours, nil
}

func (o *ownEngine) down(ctx context.Context) error {
	containers, err := o.containers(ctx)
	if err != nil {
		return err
	}
	client, err := o.engine.Client(ctx)
	if err != nil {
		return err
	}
	for _, c := range containers {
		if err := removeContainer(ctx, client, c.ID); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = client.RemoveVolumeWithOptions(dockerclient.RemoveVolumeOptions{Name: etcdVolume, Context: ctx})
	if err != nil && !docker.IsNotFound(err) {
		return fmt.Errorf("remove volume %s: %w", etcdVolume, err)
	}
	networks, err := networks(client)
	if err != nil {
		return err
	}
	for _, network := range networks {
		if err := client.RemoveNetwork(network.ID); err != nil && !docker.IsNotFound(err) {
			return fmt.Errorf("remove network %s: %w", bridgeNetwork, err)
		}
	}
	return nil
}
