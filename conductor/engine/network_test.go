//go:build linux

package engine

import (
	"errors"
	"strings"
	"testing"

	dockerclient "github.com/fsouza/go-dockerclient"
)

func testNetwork(t *testing.T, h *testHost) {
	before := networkID(t, h)
	if err := h.engine.EnsureNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := networkID(t, h); after != before {
		t.Errorf("the network was made anew: %s, was %s", after, before)
	}
	for name, test := range map[string]struct {
		change func(*dockerclient.CreateNetworkOptions)
		wrong  string
	}{
		"containers reach each other": {func(o *dockerclient.CreateNetworkOptions) { delete(o.Options, "com.docker.network.bridge.enable_icc") }, "enable_icc"},
		"ports of another host": {func(o *dockerclient.CreateNetworkOptions) {
			o.Options["com.docker.network.bridge.host_binding_ipv4"] = "0.0.0.0"
		}, "host_binding_ipv4"},
		"another interface": {func(o *dockerclient.CreateNetworkOptions) { delete(o.Options, "com.docker.network.bridge.name") }, "bridge.name"},
		"other addresses": {func(o *dockerclient.CreateNetworkOptions) {
			o.IPAM.Config[0] = dockerclient.IPAMConfig{Subnet: "172.31.250.0/24"}
		}, "172.31.250.0/24"},
		"another gateway": {func(o *dockerclient.CreateNetworkOptions) { o.IPAM.Config[0].Gateway = "172.30.0.9" }, "172.30.0.9"},
	} {
		t.Run(name, func(t *testing.T) {
			options := map[string]any{}
			for option, value := range networkOptions(h.IP().String()) {
				options[option] = value
			}
			network := dockerclient.CreateNetworkOptions{Name: Network, Driver: networkDriver, Context: t.Context(), Options: options,
				IPAM: &dockerclient.IPAMOptions{Config: []dockerclient.IPAMConfig{{Subnet: subnet, Gateway: NetworkGateway}}}}
			test.change(&network)
			if err := h.client.RemoveNetwork(Network); err != nil {
				t.Fatal(err)
			}
			if _, err := h.client.CreateNetwork(network); err != nil {
				t.Fatal(err)
			}
			if err := h.engine.EnsureNetwork(t.Context()); err == nil || !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("accepted, or does not name what is wrong, %s: %v", test.wrong, err)
			}
		})
	}
	if err := h.client.RemoveNetwork(Network); err != nil {
		t.Fatal(err)
	}
	if err := h.engine.EnsureNetwork(t.Context()); err != nil {
		t.Errorf("a removed network is not made anew: %v", err)
	}
}

// testDetached is about containers that lose the network, and whose network is made anew.
func testDetached(t *testing.T, h *testHost) {
	running, exited := h.run(t, spec(11, "idetached")), h.run(t, spec(12, "iorphan"))
	defer h.stop(t, running)
	defer h.stop(t, exited)
	if err := h.client.DisconnectNetwork(Network, dockerclient.NetworkConnectionOptions{Container: running, Force: true}); err != nil {
		t.Fatal(err)
	}
	if c, _ := h.find(t, "idetached"); c.Status != StatusRunning || c.Addr.IsValid() {
		t.Errorf("off the network, listed as %s with address %v", c.Status, c.Addr)
	}
	if err := h.client.StopContainer(exited, 1); err != nil {
		t.Fatal(err)
	}
	if err := h.client.RemoveNetwork(Network); err != nil {
		t.Fatal(err)
	}
	if err := h.engine.EnsureNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.engine.Start(t.Context(), exited); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("start on a network that is gone: %v", err)
	}
}

func networkID(t *testing.T, h *testHost) string {
	t.Helper()
	network, err := h.client.NetworkInfo(Network)
	if err != nil {
		t.Fatal(err)
	}
	return network.ID
}
