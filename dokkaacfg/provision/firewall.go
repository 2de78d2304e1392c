package provision

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
)

const (
	rulesFile    = dir + "/firewall.nft"
	firewallUnit = "/etc/systemd/system/dokkaa-firewall.service"
)

//go:embed firewall.service
var firewallService string

// closePorts closes the cluster's ports to everybody but its hosts, before anything listens there,
// and from each start of the host on.
func closePorts(ctx context.Context, host Host, _ Facts, wanted Wanted) (string, error) {
	rules, err := writeFile(ctx, host, rulesFile, "644", Rules(wanted.Self, wanted.Hosts, wanted.OpenKeys))
	if err != nil {
		return "", err
	}
	unit, err := writeFile(ctx, host, firewallUnit, "644", firewallService)
	if err != nil {
		return "", err
	}
	// The rules anew in any case: one transaction, and somebody may have flushed them.
	_, err = host.Run(ctx, `
systemctl daemon-reload
systemctl enable --quiet dokkaa-firewall
systemctl restart dokkaa-firewall`, nil)
	if err != nil {
		return "", fmt.Errorf("close the cluster's ports: %w", err)
	}
	if !rules && !unit {
		return "", nil
	}
	if len(wanted.OpenKeys) > 0 {
		return fmt.Sprintf("the cluster's ports are open to its %d hosts only, and 4001 to %v", len(wanted.Hosts), wanted.OpenKeys), nil
	}
	return fmt.Sprintf("the cluster's ports are open to its %d hosts only", len(wanted.Hosts)), nil
}

// Rules is the nftables table of a host, which reaches the others by the address self.
//
// The first chain is about our daemons: on that address, and on the bridge that containers of the
// cluster are on, to which a neighbour of the host could send packets. What else listens on the host
// is none of its business.
//
// The second is about the containers on that bridge. The ports that Docker publishes for services by
// itself are for the ambassadors of the other hosts; those that a manifest fixes are open to the
// world, if they are lower. Docker has translated the addresses by then.
//
// With networks to which the keys are open, these reach the gateway at every address of the host, and
// nobody else does.
func Rules(self netip.Addr, hosts []netip.Addr, openKeys []netip.Prefix) string {
	open := ""
	for _, network := range openKeys {
		family := "ip"
		if network.Addr().Is6() {
			family = "ip6"
		}
		open += fmt.Sprintf("\t\t%s saddr %s tcp dport 4001 accept\n", family, network)
	}
	if open != "" {
		open += "\t\ttcp dport 4001 drop\n"
	}
	sorted := slices.SortedFunc(slices.Values(hosts), netip.Addr.Compare)
	return fmt.Sprintf(`table inet dokkaa_hosts
delete table inet dokkaa_hosts
table inet dokkaa_hosts {
	set hosts { type ipv4_addr; elements = { %s } }
	chain daemons {
		type filter hook input priority -5; policy accept;
		ct state established,related accept
		iifname { "lo", "%[3]s" } accept
		ip daddr %[4]s drop
		ip saddr @hosts accept
%[5]s		ip daddr %[2]s tcp dport { 53, 2379, 2380, 4001 } drop
		ip daddr %[2]s udp dport 53 drop
	}
	chain containers {
		type filter hook forward priority -5; policy accept;
		ct state established,related accept
		iifname "%[3]s" accept
		oifname != "%[3]s" accept
		ip saddr @hosts ct status dnat accept
		meta l4proto tcp ct status dnat ct original proto-dst < 32768 accept
		meta l4proto udp ct status dnat ct original proto-dst < 32768 accept
		drop
	}
}
`, listed(sorted), self, bridge, bridgeGateway, open)
}

// The bridge of the cluster's containers, and the host's address on it, as the conductor makes it.
const (
	bridge        = "dokkaa"
	bridgeGateway = "172.30.0.1"
)
