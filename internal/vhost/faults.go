//go:build linux

package vhost

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// LinkDown unplugs the host from the switch.
func (h *Host) LinkDown(ctx context.Context) error { return h.setLink(ctx, "down") }

// LinkUp plugs the host in again.
func (h *Host) LinkUp(ctx context.Context) error { return h.setLink(ctx, "up") }

func (h *Host) setLink(ctx context.Context, state string) error {
	sw := h.cluster.switchNamespace()
	if state == "down" && !linkExists(ctx, sw, h.port()) {
		return nil // powered off already
	}
	if err := ip(ctx, "-n", sw, "link", "set", h.port(), state); err != nil {
		return fmt.Errorf("set link of host %s %s: %w", h.IP(), state, err)
	}
	return nil
}

// partitionTable drops at the switch what is sent between two of its ports: out of the hosts'
// sight, and beside their own firewalls.
const partitionTable = `table bridge partition {
	set cut { type ifname . ifname; }
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname . oifname @cut drop
	}
}
`

func (c *Cluster) ensurePartitionTable(ctx context.Context) error {
	if c.nft(ctx, "list table bridge partition") == nil {
		return nil
	}
	return c.nft(ctx, partitionTable)
}

// Partition cuts the host off from the given hosts, in both directions. The machine still
// reaches all of them.
func (h *Host) Partition(ctx context.Context, from ...*Host) error {
	if len(from) == 0 {
		return nil
	}
	return h.cluster.nft(ctx, "add element bridge partition cut "+h.pairs(from))
}

// Heal ends all partitions of the host.
func (h *Host) Heal(ctx context.Context) error {
	all, err := h.cluster.Hosts()
	if err != nil || len(all) == 0 {
		return err
	}
	pairs := h.pairs(all)
	// Added first, in one transaction: what is not there cannot be deleted.
	return h.cluster.nft(ctx, "add element bridge partition cut "+pairs+"; delete element bridge partition cut "+pairs)
}

// pairs are both directions between the host and each other one, as elements of the set.
func (h *Host) pairs(others []*Host) string {
	var pairs []string
	for _, other := range others {
		pairs = append(pairs, fmt.Sprintf("%q . %q", h.port(), other.port()))
		if other.n != h.n {
			pairs = append(pairs, fmt.Sprintf("%q . %q", other.port(), h.port()))
		}
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}

func (c *Cluster) nft(ctx context.Context, commands string) error {
	return run(ctx, "nsenter", "--net="+namespaceDir+"/"+c.switchNamespace(), "nft", commands)
}

// Outside is an address beyond the hosts' network, which they reach by their default route.
type Outside struct {
	cluster *Cluster
	addr    netip.Addr
}

// AddOutside makes the cluster's outside, with an address that the machine uses for nothing
// else, for example one of 198.51.100.0/24. There is one at most; Down removes it.
func (c *Cluster) AddOutside(ctx context.Context, addr netip.Addr) (*Outside, error) {
	ns := c.outsideNamespace()
	if err := ensureNamespace(ctx, ns); err != nil {
		return nil, err
	}
	if !linkExists(ctx, "", c.outsideLink()) {
		if err := ip(ctx, "link", "add", c.outsideLink(), "type", "veth", "peer", "name", hostLink, "netns", ns); err != nil {
			return nil, fmt.Errorf("make outside: %w", err)
		}
	}
	single := netip.PrefixFrom(addr, addr.BitLen()).String()
	for _, step := range [][]string{
		{"link", "set", c.outsideLink(), "up"},
		{"-n", ns, "link", "set", "lo", "up"},
		{"-n", ns, "addr", "replace", single, "dev", hostLink},
		{"-n", ns, "link", "set", hostLink, "up"},
		{"-n", ns, "route", "replace", "default", "dev", hostLink},
		{"route", "replace", single, "dev", c.outsideLink()},
	} {
		if err := ip(ctx, step...); err != nil {
			return nil, fmt.Errorf("make outside: %w", err)
		}
	}
	return &Outside{cluster: c, addr: addr}, nil
}

// Addr is the outside's address.
func (o *Outside) Addr() netip.Addr { return o.addr }

// Listen listens there, on a numeric address. The caller closes the listener.
func (o *Outside) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	return listenIn(ctx, o.cluster.outsideNamespace(), network, addr)
}
