package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// Network is the name of the bridge network that user containers are on, and of its interface.
const Network = "dokkaa"

// NetworkGateway is the host's address on the network, where the ambassador and the nameserver
// listen. The network is the same on every host: containers never see another host's.
const (
	NetworkGateway = "172.30.0.1"
	subnet         = "172.30.0.0/16"
	networkDriver  = "bridge"
)

// EnsureNetwork makes the network dokkaa unless it is there, and refuses one that is not as we
// make it: without its options containers would reach each other directly, and on other addresses
// nobody would serve them.
func (e *Engine) EnsureNetwork(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	network := new(dockerclient.Network)
	err = e.Docker.Get(ctx, "/networks/"+Network, nil, network)
	switch {
	case docker.IsNotFound(err):
		return e.createNetwork(ctx, client)
	case err != nil:
		return fmt.Errorf("inspect network %s: %w", Network, err)
	}
	if err := e.checkNetwork(network); err != nil {
		return fmt.Errorf("network %s %w: remove the network, the conductor makes it anew", Network, err)
	}
	return nil
}

func (e *Engine) createNetwork(ctx context.Context, client *dockerclient.Client) error {
	options := map[string]any{}
	for option, value := range networkOptions(e.HostIP) {
		options[option] = value
	}
	_, err := client.CreateNetwork(dockerclient.CreateNetworkOptions{
		Name: Network, Driver: networkDriver, CheckDuplicate: true, Context: ctx,
		Labels:  map[string]string{"dokkaa.network": "1"},
		IPAM:    &dockerclient.IPAMOptions{Config: []dockerclient.IPAMConfig{{Subnet: subnet, Gateway: NetworkGateway}}},
		Options: options,
	})
	if err != nil && !errors.Is(err, dockerclient.ErrNetworkAlreadyExists) {
		return fmt.Errorf("create network %s: %w", Network, err)
	}
	return nil
}

// checkNetwork says what is wrong with a network that there is.
func (e *Engine) checkNetwork(network *dockerclient.Network) error {
	if network.Driver != networkDriver {
		return fmt.Errorf("has driver %q, want %q", network.Driver, networkDriver)
	}
	if config := network.IPAM.Config; len(config) != 1 || config[0].Subnet != subnet || config[0].Gateway != NetworkGateway {
		return fmt.Errorf("has the addresses %+v, want %s with gateway %s", config, subnet, NetworkGateway)
	}
	options := networkOptions(e.HostIP)
	for _, option := range slices.Sorted(maps.Keys(options)) { // of several always the same is told
		want := options[option]
		if got := network.Options[option]; got != want {
			return fmt.Errorf("has option %s=%q, want %q", option, got, want)
		}
	}
	return nil
}

func networkOptions(hostIP string) map[string]string {
	return map[string]string{
		"com.docker.network.bridge.name":              Network,
		"com.docker.network.bridge.enable_icc":        "false",
		"com.docker.network.bridge.host_binding_ipv4": hostIP,
	}
}
