//go:build linux

package vhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Names inside the namespaces. A host's port at the switch is h<n>.
const (
	bridge   = "br0"    // in the switch
	uplink   = "uplink" // in the switch, towards the machine
	hostLink = "eth0"   // in a host
)

func (c *Cluster) switchNamespace() string { return "dokkaa-" + c.name }

func (c *Cluster) outsideNamespace() string { return "dokkaa-" + c.name + "-out" }

func (c *Cluster) machineLink() string { return "dk-" + c.name }

func (c *Cluster) outsideLink() string { return "dko-" + c.name }

// ensureNetwork makes the switch, its link to the machine, and the machine's forwarding. It
// repairs what is incomplete.
func (c *Cluster) ensureNetwork(ctx context.Context) error {
	if err := c.checkSubnet(ctx); err != nil {
		return err
	}
	mtu, err := machineMTU(ctx)
	if err != nil {
		return err
	}
	sw := c.switchNamespace()
	if err := ensureNamespace(ctx, sw); err != nil {
		return err
	}
	if !linkExists(ctx, sw, bridge) {
		if err := ip(ctx, "-n", sw, "link", "add", bridge, "type", "bridge"); err != nil {
			return err
		}
	}
	if !linkExists(ctx, "", c.machineLink()) {
		// Made in one go in both namespaces: there is no half of it that a crash could leave.
		if err := ip(ctx, "link", "add", c.machineLink(), "mtu", mtu, "type", "veth",
			"peer", "name", uplink, "mtu", mtu, "netns", sw); err != nil {
			return err
		}
	}
	steps := [][]string{
		{"-n", sw, "link", "set", bridge, "up"},
		{"-n", sw, "link", "set", uplink, "master", bridge, "up"},
		{"addr", "replace", c.withBits(c.MachineIP()), "dev", c.machineLink()},
		{"link", "set", c.machineLink(), "up"},
	}
	for _, step := range steps {
		if err := ip(ctx, step...); err != nil {
			return err
		}
	}
	if err := c.ensurePartitionTable(ctx); err != nil {
		return err
	}
	return c.ensureForwarding(ctx)
}

// ensureHostLink makes host n's namespace and joins it to the switch.
func (c *Cluster) ensureHostLink(ctx context.Context, h *Host) error {
	mtu, err := machineMTU(ctx)
	if err != nil {
		return err
	}
	ns, sw := h.namespace(), c.switchNamespace()
	if err := ensureNamespace(ctx, ns); err != nil {
		return err
	}
	if !linkExists(ctx, sw, h.port()) {
		if err := ip(ctx, "-n", sw, "link", "add", h.port(), "mtu", mtu, "type", "veth",
			"peer", "name", hostLink, "address", h.hardwareAddress(), "mtu", mtu, "netns", ns); err != nil {
			return err
		}
	}
	steps := [][]string{
		{"-n", sw, "link", "set", h.port(), "master", bridge, "up"},
		{"-n", ns, "link", "set", "lo", "up"},
		{"-n", ns, "addr", "replace", c.withBits(h.IP()), "dev", hostLink},
		{"-n", ns, "link", "set", hostLink, "up"},
		{"-n", ns, "route", "replace", "default", "via", c.MachineIP().String()},
	}
	for _, step := range steps {
		if err := ip(ctx, step...); err != nil {
			return err
		}
	}
	return nil
}

// hardwareAddress stays the same over power cuts, as that of a real host does: the others remember
// it for half a minute.
func (h *Host) hardwareAddress() string {
	ip := h.IP().As4()
	return net.HardwareAddr{0x02, 0, ip[0], ip[1], ip[2], ip[3]}.String()
}

// removeNetwork removes the machine's rules and links and all namespaces.
func (c *Cluster) removeNetwork(ctx context.Context) error {
	if err := c.removeForwarding(ctx); err != nil {
		return err
	}
	links, err := c.machineLinks()
	if err != nil {
		return err
	}
	for _, link := range links {
		if err := ip(ctx, "link", "del", link); err != nil {
			return err
		}
	}
	names, err := c.namespaces()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ip(ctx, "netns", "del", name); err != nil {
			return err
		}
	}
	return nil
}

// machineLinks are the cluster's links that the machine has.
func (c *Cluster) machineLinks() ([]string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network links: %w", err)
	}
	var names []string
	for _, i := range interfaces {
		if i.Name == c.machineLink() || i.Name == c.outsideLink() {
			names = append(names, i.Name)
		}
	}
	return names, nil
}

// namespaces are the cluster's network namespaces: hosts', the outside's, and the switch last.
func (c *Cluster) namespaces() ([]string, error) {
	entries, err := os.ReadDir(namespaceDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	ours := regexp.MustCompile("^" + regexp.QuoteMeta(c.switchNamespace()) + "(-out|-[0-9]+)?$")
	var names []string
	for _, entry := range entries {
		if ours.MatchString(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// checkSubnet refuses a subnet that the machine already reaches some other way.
func (c *Cluster) checkSubnet(ctx context.Context) error {
	out, err := output(ctx, "ip", "-4", "-j", "route", "show")
	if err != nil {
		return err
	}
	var routes []struct{ Dst, Dev string }
	if err := json.Unmarshal([]byte(out), &routes); err != nil {
		return fmt.Errorf("read routes: %w", err)
	}
	for _, route := range routes {
		prefix, err := netip.ParsePrefix(route.Dst)
		if err != nil {
			addr, err := netip.ParseAddr(route.Dst)
			if err != nil {
				continue // "default"
			}
			prefix = netip.PrefixFrom(addr, 32)
		}
		if prefix.Overlaps(c.subnet) && route.Dev != c.machineLink() {
			return fmt.Errorf("subnet %s is in use: the machine reaches %s through %s; choose another", c.subnet, prefix, route.Dev)
		}
	}
	return nil
}

// withBits is addr in the notation that ip takes for an interface's address.
func (c *Cluster) withBits(addr netip.Addr) string {
	return netip.PrefixFrom(addr, c.subnet.Bits()).String()
}

// machineMTU is the size of packets on the machine's way out, so that those of the hosts fit.
func machineMTU(ctx context.Context) (string, error) {
	out, err := output(ctx, "ip", "-4", "-j", "route", "show", "default")
	if err != nil {
		return "", err
	}
	var routes []struct{ Dev string }
	if err := json.Unmarshal([]byte(out), &routes); err != nil {
		return "", fmt.Errorf("read default route: %w", err)
	}
	if len(routes) == 0 {
		return "1500", nil
	}
	mtu, err := os.ReadFile(filepath.Join("/sys/class/net", routes[0].Dev, "mtu"))
	if err != nil {
		return "", fmt.Errorf("read packet size of %s: %w", routes[0].Dev, err)
	}
	return strings.TrimSpace(string(mtu)), nil
}

// linkExists tells whether a namespace, "" for the machine's, has the link.
func linkExists(ctx context.Context, namespace, link string) bool {
	args := []string{"link", "show", "dev", link}
	if namespace != "" {
		args = append([]string{"-n", namespace}, args...)
	}
	return ip(ctx, args...) == nil
}
