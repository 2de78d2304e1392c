//go:build linux

package vhost

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

const ipForward = "/proc/sys/net/ipv4/ip_forward"

// rule is an iptables rule of the machine: its table, its chain, and what follows.
type rule struct {
	table, chain string
	spec         []string
}

// rules let the hosts out, and the answers in, and no pages to etcd. They stand in iptables because an engine of the
// machine's own sets the policy of that FORWARD chain to DROP: an nftables table beside it
// could not overrule that.
func (c *Cluster) rules() []rule {
	subnet := c.subnet.String()
	commented := func(match string, target ...string) []string {
		return slices.Concat(strings.Fields(match), []string{"-m", "comment", "--comment", c.switchNamespace(), "-j"}, target)
	}
	return []rule{
		{"filter", "FORWARD", commented("-i "+c.machineLink(), "ACCEPT")},
		{"filter", "FORWARD", commented("-o "+c.machineLink(), "ACCEPT")},
		// Without certificates etcd takes what a form in a web page sends, and a browser on the
		// machine, which is hardly root's, could reach it. The gateway beside it knows better.
		{"filter", "OUTPUT", commented("-o "+c.machineLink()+" -p tcp --dport 2379:2380 -m owner ! --uid-owner 0", "REJECT")},
		{"nat", "POSTROUTING", commented("-s "+subnet+" ! -d "+subnet, "MASQUERADE")},
		// The hosts' containers believe in packets of 1500 bytes; where the machine's way out
		// takes fewer, what the world sends them would get lost without a word.
		{"mangle", "FORWARD", commented("-i "+c.machineLink()+" -p tcp --tcp-flags SYN,RST SYN", "TCPMSS", "--clamp-mss-to-pmtu")},
	}
}

// chains are those that have rules of ours.
func (c *Cluster) chains() []rule {
	var chains []rule
	for _, r := range c.rules() {
		same := func(other rule) bool { return other.table == r.table && other.chain == r.chain }
		if !slices.ContainsFunc(chains, same) {
			chains = append(chains, r)
		}
	}
	return chains
}

// ensureForwarding makes the machine the hosts' router. Like Docker itself it leaves forwarding
// switched on in the kernel: something else may have come to need it.
func (c *Cluster) ensureForwarding(ctx context.Context) error {
	if err := os.WriteFile(ipForward, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("switch on forwarding: %w", err)
	}
	for _, r := range c.rules() {
		check := slices.Concat([]string{"-w", "10", "-t", r.table, "-C", r.chain}, r.spec)
		if run(ctx, "iptables", check...) == nil {
			continue
		}
		insert := slices.Concat([]string{"-w", "10", "-t", r.table, "-I", r.chain}, r.spec)
		if err := run(ctx, "iptables", insert...); err != nil {
			return err
		}
	}
	return nil
}

// removeForwarding deletes all rules that carry the cluster's name.
func (c *Cluster) removeForwarding(ctx context.Context) error {
	rules, err := c.firewallRules(ctx)
	if err != nil {
		return err
	}
	for _, args := range rules {
		if err := run(ctx, "iptables", slices.Concat([]string{"-w", "10"}, args)...); err != nil {
			return err
		}
	}
	return nil
}

// firewallRules are the arguments with which iptables deletes each rule of the cluster.
func (c *Cluster) firewallRules(ctx context.Context) ([][]string, error) {
	var rules [][]string
	for _, of := range c.chains() {
		out, err := output(ctx, "iptables", "-w", "10", "-t", of.table, "-S", of.chain)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			fields := strings.Fields(line)
			i := slices.Index(fields, "--comment")
			if i < 0 || i+1 >= len(fields) || strings.Trim(fields[i+1], `"`) != c.switchNamespace() {
				continue
			}
			fields[0] = "-D" // it was -A
			fields[i+1] = c.switchNamespace()
			rules = append(rules, append([]string{"-t", of.table}, fields...))
		}
	}
	return rules, nil
}
