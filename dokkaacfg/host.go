package dokkaacfg

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

func newHostCommand(p *invocation) *cobra.Command {
	return group("host", "Look after hosts: drain, cordon, label, forget",
		newHostLsCommand(p), newHostDrainCommand(p), newHostFreeCommand(p, "undrain"), newHostCordonCommand(p),
		newHostFreeCommand(p, "uncordon"), newHostLabelCommand(p), newHostRmCommand(p))
}

// hostArg is the host that a command is about: its address.
type hostArg struct{ IP string }

// in finds the host.
func (a hostArg) in(all inventory) (ip string, h *hostKeys, err error) {
	if addr, err := netip.ParseAddr(a.IP); err == nil {
		if h := all.hosts[addr.String()]; h != nil {
			return addr.String(), h, nil
		}
	}
	return "", nil, fmt.Errorf("there is no host %s; the hosts are %s", a.IP, strings.Join(all.addresses(), ", "))
}

type hostLsCommand struct{ output }

func newHostLsCommand(p *invocation) *cobra.Command {
	c := new(hostLsCommand)
	cmd := &cobra.Command{
		Use: "ls", Short: "Show the hosts, what they have and what is asked of them",
		Example: "dokkaacfg host ls\ndokkaacfg host ls -o json | jq -r '.[].ip'",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// Run shows the hosts.
func (c *hostLsCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		hosts := all.hostReports()
		return c.write(s.out, hosts, func() string { return hostsText(hosts) })
	})
}

func hostsText(hosts []hostReport) string {
	var t table
	t.row("HOST", "STATE", "CONTAINERS", "VERSION", "ARCH", "CPUS", "MEMORY", "LABELS", "WHY")
	for _, h := range hosts {
		is, why := h.shown()
		cpus, memory := "-", "-"
		if h.CPUs > 0 {
			cpus = strconv.FormatFloat(h.CPUs, 'g', 3, 64)
		}
		if h.Memory > 0 {
			memory = fmt.Sprintf("%.1fG", float64(h.Memory)/(1<<30))
		}
		t.row(h.IP, is, strconv.Itoa(h.Containers), cmp.Or(h.Version, "-"), cmp.Or(h.Arch, "-"), cpus, memory, cmp.Or(listLabels(h.Labels), "-"), why)
	}
	return t.String()
}

type hostCordonCommand struct{ hostArg }

func newHostCordonCommand(p *invocation) *cobra.Command {
	c := new(hostCordonCommand)
	return &cobra.Command{
		Use: "cordon <ip>", Short: "Give a host nothing new; what it runs stays",
		Example: "dokkaacfg host cordon 10.101.0.2",
		Args:    exactly(&c.IP), ValidArgsFunction: p.completeHosts, RunE: p.run(c.Run),
	}
}

// Run closes the host for what is new.
func (c *hostCordonCommand) Run(ctx context.Context, s *session) error {
	return s.allow(ctx, c.hostArg, state.Cordoned, "host %s is cordoned: it takes nothing new, and keeps what it has")
}

type hostFreeCommand struct{ hostArg }

func newHostFreeCommand(p *invocation, name string) *cobra.Command {
	c := new(hostFreeCommand)
	return &cobra.Command{
		Use: name + " <ip>", Short: "Let a host take its share again",
		Example: "dokkaacfg host " + name + " 10.101.0.2",
		Args:    exactly(&c.IP), ValidArgsFunction: p.completeHosts, RunE: p.run(c.Run),
	}
}

// Run returns the host to normal, whether it was drained or cordoned.
func (c *hostFreeCommand) Run(ctx context.Context, s *session) error {
	return s.allow(ctx, c.hostArg, "", "host %s takes its share again")
}

// allow writes what the operator allows a host, and says so.
func (s *session) allow(ctx context.Context, arg hostArg, to state.Availability, says string) error {
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		ip, h, err := arg.in(all)
		if err != nil {
			return err
		}
		if h.availability == to {
			says += " (as before)"
		}
		if err := setAvailability(ctx, keys, ip, to); err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, says+"\n", ip)
		return err
	})
}

func setAvailability(ctx context.Context, keys clusterKeys, ip string, to state.Availability) error {
	if to == "" {
		return removeKey(ctx, keys.Store, state.AvailabilityKey(ip))
	}
	_, err := keys.Set(ctx, state.AvailabilityKey(ip), string(to), 0)
	return err
}
