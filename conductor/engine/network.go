package engine

import (
	"context"
	"errors"
	"fmt"

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
)

// EnsureNetwork makes the network dokkaa unless it is there, and refuses one that is not as we
// make it: without its options containers would reach each other directly.
func (e *Engine) EnsureNetwork(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	client, err := e.Docker.Client(ctx)
	if err != nil {
		return err
	}
	network, err := networkInfo(ctx, client)
	if docker.IsNotFound(err) {
		_, err := client.CreateNetwork(dockerclient.CreateNetworkOptions{
			Name: Network, Driver: "bridge", CheckDuplicate: true, Context: ctx,
			Labels:  map[string]string{"dokkaa.network": "1"},
			IPAM:    &dockerclient.IPAMOptions{Config: []dockerclient.IPAMConfig{{Subnet: subnet, Gateway: NetworkGateway}}},
			Options: networkOptions(e.HostIP),
		})
		if err != nil && !errors.Is(err, dockerclient.ErrNetworkAlreadyExists) {
			return fmt.Errorf("create network %s: %w", Network, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect network %s: %w", Network, err)
	}
	for option, want := range networkOptions(e.HostIP) {
		if got := network.Options[option]; got != want {
			return fmt.Errorf("network %s has option %s=%q, want %q: remove the network, the conductor makes it anew", Network, option, got, want)
		}
	}
	return nil
}

func networkOptions(hostIP string) map[string]any {
	return map[string]any{
		"com.docker.network.bridge.name":              Network,
		"com.docker.network.bridge.enable_icc":        "false",
		"com.docker.network.bridge.host_binding_ipv4": hostIP,
	}
}

// networkInfo gives NetworkInfo, which takes no context, the deadline of ctx.
func networkInfo(ctx context.Context, client *dockerclient.Client) (*dockerclient.Network, error) {
	type result struct {
		network *dockerclient.Network
		err     error
	}
	done := make(chan result, 1) // the request may outlive us, until Docker answers
	go func() {
		network, err := client.NetworkInfo(Network)
		done <- result{network, err}
	}()
	select {
	case r := <-done:
		return r.network, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
