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

// rules let the hosts out, and the answers in. They stand in iptables because an engine of the
// machine's own sets the policy of that FORWARD chain to DROP: an nftables table beside it
// could not overrule that.
func (c *Cluster) rules() []rule {
	comment := []string{"-m", "comment", "--comment", c.switchNamespace()}
	subnet := c.subnet.String()
	return []rule{
		{"filter", "FORWARD", append([]string{"-i", c.machineLink()}, append(comment, "-j", "ACCEPT")...)},
		{"filter", "FORWARD", append([]string{"-o", c.machineLink()}, append(comment, "-j", "ACCEPT")...)},
		{"nat", "POSTROUTING", append([]string{"-s", subnet, "!", "-d", subnet}, append(comment, "-j", "MASQUERADE")...)},
	}
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
	for table, chain := range map[string]string{"filter": "FORWARD", "nat": "POSTROUTING"} {
		out, err := output(ctx, "iptables", "-w", "10", "-t", table, "-S", chain)
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
			rules = append(rules, append([]string{"-t", table}, fields...))
		}
	}
	return rules, nil
}
