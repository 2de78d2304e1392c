//go:build linux

// Package vhost makes clusters of virtual hosts on one Linux machine, for trying Dokkaa out and
// for its end-to-end tests.
//
// A virtual host is a network namespace (own address, ports and firewall) with a Docker Engine
// of its own. The hosts' namespaces are joined by a bridge in one more namespace, the switch,
// which is joined to the machine by a single link; the machine has the last address of the
// subnet there, is the hosts' default gateway and masquerades for them.
//
// Everything is found again by name: namespaces, links, control groups, firewall rules and the
// state directory all carry the cluster's. So a cluster can be taken up again or down by another
// process, whatever happened to the one that made it.
package vhost

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// MaxHosts is the greatest number of hosts of a cluster.
const MaxHosts = 200

var (
	defaultSubnet = netip.MustParsePrefix("10.101.0.0/24")
	// engineNets is where the engines' own networks are; each host has it for itself. Of
	// it, 172.30 is left to the network that containers of the cluster are on.
	engineNets  = netip.MustParsePrefix("172.28.0.0/14")
	bridgeIP    = netip.MustParsePrefix("172.29.0.1/24")
	networkPool = netip.MustParsePrefix("172.31.0.0/16")
	// The name is part of interface names, which have at most 15 characters.
	validName = regexp.MustCompile(`^[a-z][a-z0-9]{0,10}$`)
)

// Options say which cluster is meant.
type Options struct {
	Name   string       // lower-case letters and digits, at most 11
	Subnet netip.Prefix // IPv4, /24 or larger; zero: as the cluster was made, else 10.101.0.0/24
	Dir    string       // state directory, default /var/lib/dokkaa/<name>
	Log    *slog.Logger
	// NoLiveRestore has containers end with their engine. It counts for engines that are started
	// through this handle; swarm mode needs it.
	NoLiveRestore bool
}

// Cluster is a handle on a cluster, which may or may not exist. Its methods may be called again
// after they failed; they must not be called concurrently, by several processes neither.
type Cluster struct {
	name   string
	subnet netip.Prefix
	dir    string
	log    *slog.Logger

	noLiveRestore bool
}

// New returns a handle on the cluster. It makes nothing.
func New(o Options) (*Cluster, error) {
	if !validName.MatchString(o.Name) {
		return nil, fmt.Errorf("cluster name %q: it must be a lower-case letter and at most 10 more letters and digits", o.Name)
	}
	c := &Cluster{
		name:   o.Name,
		subnet: o.Subnet,
		dir:    cmp.Or(o.Dir, filepath.Join("/var/lib/dokkaa", o.Name)),
		log:    cmp.Or(o.Log, slog.New(slog.DiscardHandler)),

		noLiveRestore: o.NoLiveRestore,
	}
	made, err := c.readSubnet()
	switch {
	case err != nil:
		return nil, err
	case !c.subnet.IsValid():
		c.subnet = made
	case made.IsValid() && made != c.subnet.Masked():
		return nil, fmt.Errorf("cluster %s exists with subnet %s, it cannot become %s", c.name, made, c.subnet)
	}
	if !c.subnet.IsValid() {
		c.subnet = defaultSubnet
	}
	c.subnet = c.subnet.Masked()
	if !c.subnet.Addr().Is4() || c.subnet.Bits() > 24 || c.subnet.Bits() < 8 {
		return nil, fmt.Errorf("subnet %s: it must be IPv4 and between /8 and /24", c.subnet)
	}
	if engineNets.Overlaps(c.subnet) {
		return nil, fmt.Errorf("subnet %s overlaps %s, which the hosts' Docker Engines use", c.subnet, engineNets)
	}
	return c, nil
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.name }

// Subnet is the network that the hosts are in.
func (c *Cluster) Subnet() netip.Prefix { return c.subnet }

// Dir is the state directory.
func (c *Cluster) Dir() string { return c.dir }

// MachineIP is the machine's own address on the hosts' network, their default gateway.
func (c *Cluster) MachineIP() netip.Addr { return offset(c.subnet.Addr(), 254) }

// Up makes what the cluster lacks: the network, and hosts 1 to n with a Docker Engine that
// answers. Hosts that run are left as they are, hosts beyond n too.
func (c *Cluster) Up(ctx context.Context, n int) error {
	var numbers []int
	for i := range n {
		numbers = append(numbers, i+1)
	}
	return c.UpHosts(ctx, numbers)
}

// UpHosts is Up of the hosts with these numbers.
func (c *Cluster) UpHosts(ctx context.Context, numbers []int) error {
	for _, n := range append([]int{len(numbers)}, numbers...) {
		if n < 1 || n > MaxHosts {
			return fmt.Errorf("a cluster has 1 to %d hosts, not %d", MaxHosts, n)
		}
	}
	if err := c.writeSubnet(); err != nil {
		return err
	}
	if err := c.ensureNetwork(ctx); err != nil {
		return fmt.Errorf("make network of cluster %s: %w", c.name, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range numbers {
		group.Go(func() error { return c.Host(n).PowerOn(ctx) })
	}
	return group.Wait()
}

// Host returns a handle on host n, which need not exist.
func (c *Cluster) Host(n int) *Host { return &Host{cluster: c, n: n} }

// Hosts returns the hosts that were made and not taken down since, running or not.
func (c *Cluster) Hosts() ([]*Host, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list hosts of cluster %s: %w", c.name, err)
	}
	var hosts []*Host
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil && n > 0 && entry.IsDir() {
			hosts = append(hosts, c.Host(n))
		}
	}
	slices.SortFunc(hosts, func(a, b *Host) int { return cmp.Compare(a.n, b.n) })
	return hosts, nil
}

// Down removes all that there is of the cluster, data too. Whatever state it is in, also if
// there is nothing, it returns nil once nothing is left.
func (c *Cluster) Down(ctx context.Context) error {
	// Order: no process, then nobody holds a namespace or a mount, then the data can go.
	if err := c.cgroup().kill(ctx); err != nil {
		return fmt.Errorf("end processes of cluster %s: %w", c.name, err)
	}
	rootCgroup.removeIfUnused()
	if err := c.removeNetwork(ctx); err != nil {
		return fmt.Errorf("remove network of cluster %s: %w", c.name, err)
	}
	if err := unmountBelow(c.dir); err != nil {
		return err
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("remove data of cluster %s: %w", c.name, err)
	}
	return nil
}

// Leftovers names everything on the machine that belongs to the cluster: what Down removes.
func (c *Cluster) Leftovers(ctx context.Context) ([]string, error) {
	var all []string
	pids, err := c.cgroup().pids()
	if err != nil {
		return nil, err
	}
	if len(pids) > 0 {
		all = append(all, fmt.Sprintf("%d processes", len(pids)))
	}
	if dirs := c.cgroup().dirs(); len(dirs) > 0 {
		all = append(all, fmt.Sprintf("control group %s, in %d hierarchies", c.cgroup(), len(dirs)))
	}
	names, err := c.namespaces()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		all = append(all, "network namespace "+name)
	}
	links, err := c.machineLinks()
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		all = append(all, "network link "+link)
	}
	rules, err := c.firewallRules(ctx)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules {
		all = append(all, "firewall rule "+strings.Join(rule, " "))
	}
	mounts, err := mountsBelow(c.dir)
	if err != nil {
		return nil, err
	}
	for _, mount := range mounts {
		all = append(all, "mount "+mount)
	}
	if _, err := os.Stat(c.dir); err == nil {
		all = append(all, "directory "+c.dir)
	}
	return all, nil
}

// record is what the state directory says of the cluster.
type record struct {
	Subnet netip.Prefix `json:"subnet"`
}

func (c *Cluster) recordFile() string { return filepath.Join(c.dir, "cluster.json") }

func (c *Cluster) readSubnet() (netip.Prefix, error) {
	data, err := os.ReadFile(c.recordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return netip.Prefix{}, nil
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("read cluster %s: %w", c.name, err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return netip.Prefix{}, fmt.Errorf("read %s: %w", c.recordFile(), err)
	}
	return r.Subnet, nil
}

// writeSubnet records the subnet in a way that leaves the whole file or none.
func (c *Cluster) writeSubnet() error {
	data, err := json.Marshal(record{Subnet: c.subnet})
	if err != nil {
		return fmt.Errorf("write cluster %s: %w", c.name, err)
	}
	if err := os.MkdirAll(c.dir, 0o711); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	temp := c.recordFile() + ".new"
	if err := os.WriteFile(temp, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write cluster %s: %w", c.name, err)
	}
	if err := os.Rename(temp, c.recordFile()); err != nil {
		return fmt.Errorf("write cluster %s: %w", c.name, err)
	}
	return nil
}

// offset is the address n after addr.
func offset(addr netip.Addr, n int) netip.Addr {
	for range n {
		addr = addr.Next()
	}
	return addr
}
