package engine

import (
	"strings"
	"testing"

	dockerclient "github.com/fsouza/go-dockerclient"
)

func TestSameFaultOfANetworkIsToldEachTime(t *testing.T) {
	t.Parallel()
	e := New(Options{HostIP: "10.0.0.1"})
	network := &dockerclient.Network{Driver: networkDriver, // and none of its options
		IPAM: dockerclient.IPAMOptions{Config: []dockerclient.IPAMConfig{{Subnet: subnet, Gateway: NetworkGateway}}}}
	for range 50 {
		if err := e.checkNetwork(network); err == nil || !strings.Contains(err.Error(), "bridge.enable_icc") {
			t.Fatalf("said %v", err)
		}
	}
}
