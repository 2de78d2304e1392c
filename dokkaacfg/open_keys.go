package dokkaacfg

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/dokkaacfg/provision"
)

// outside are the addresses by which a host's gateway is asked from beyond the hosts, where that is
// open; hasIt tells whether the host itself has that address, and not what stands in front of it.
func (i *installation) outside(ctx context.Context, host Host) (addr []netip.Addr, hasIt bool, err error) {
	machine, ok := host.(hostedHost)
	if !ok || len(i.doors.open) == 0 || machine.SSH.Addr() == machine.Private {
		return nil, false, nil
	}
	facts, err := provision.Inspect(ctx, machine.remote)
	if err != nil {
		return nil, false, fmt.Errorf("host %s: %w", machine.Name, err)
	}
	return []netip.Addr{machine.SSH.Addr()}, slices.Contains(facts.Addresses, machine.SSH.Addr()), nil
}

// complete is a daemon with all that its host gives it.
func (i *installation) complete(ctx context.Context, host Host, d daemonSpec) (daemonSpec, error) {
	d = i.doors.give(d)
	if d.name != "gateway" {
		return d, nil
	}
	outside, hasIt, err := i.outside(ctx, host)
	if err != nil || !hasIt {
		return d, err
	}
	listens := []string{"127.0.0.1:4001"}
	for _, addr := range append([]netip.Addr{host.IP()}, outside...) {
		listens = append(listens, netip.AddrPortFrom(addr, gatewayPort).String())
	}
	d.env = append(slices.Clip(d.env), "GATEWAY_ADDR="+strings.Join(listens, ","))
	return d, nil
}
