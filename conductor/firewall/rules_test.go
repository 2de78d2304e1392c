//go:build linux

package firewall

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// testRules are the rules of a host of a cluster of two.
func testRules(hosts ...string) Rules {
	r := Rules{Interface: "dokkaa", Gateway: netip.MustParseAddr("172.30.0.1"), Ports: [2]uint16{10000, 10100},
		Fixed: []netip.Addr{netip.MustParseAddr("10.0.0.9")}}
	for _, host := range hosts {
		r.Hosts = append(r.Hosts, netip.MustParseAddr(host))
	}
	return r
}

func TestTable(t *testing.T) {
	n := newNamespace(t)
	want := []string{
		"table ip dokkaa {",
		"set hosts {",
		"type ipv4_addr",
		"elements = { 10.0.0.1, 10.0.0.2 }",
		"}",
		"chain isolate {",
		"type filter hook prerouting priority -150; policy accept;",
		`iifname "dokkaa" ct state established,related accept`,
		`iifname "dokkaa" ip daddr 172.30.0.1 tcp dport 10000-10100 accept`,
		`iifname "dokkaa" ip daddr 172.30.0.1 udp dport 10000-10100 accept`,
		`iifname "dokkaa" ip daddr 172.30.0.1 udp dport 53-53 accept`,
		`iifname "dokkaa" ip daddr 172.30.0.1 tcp dport 53-53 accept`,
		`iifname "dokkaa" ip daddr 169.254.0.0/16 drop`,
		`iifname "dokkaa" fib daddr type local drop`,
		`iifname "dokkaa" ip daddr 10.0.0.9 drop`,
		`iifname "dokkaa" ip daddr @hosts drop`,
		"}",
		"}",
	}
	for range 2 { // the second time gives the same, and nothing twice
		n.mustIn(func() error { return Apply(testRules("10.0.0.1", "10.0.0.2")) })
		if got := n.nft("--numeric-priority", "list", "table", "ip", "dokkaa"); !slices.Equal(got, want) {
			t.Errorf("the table is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestOtherTablesAreLeftAlone(t *testing.T) {
	n := newNamespace(t)
	n.nft("add table ip mine { chain c { type filter hook input priority 0; tcp dport 22 accept; }; }")
	mine := n.nft("list", "table", "ip", "mine")
	n.mustIn(func() error { return Apply(testRules("10.0.0.1")) })
	if got := n.nft("list", "tables"); !slices.Equal(got, []string{"table ip mine", "table ip dokkaa"}) {
		t.Errorf("tables %q", got)
	}
	for range 2 { // what is gone is removed
		n.mustIn(Delete)
		if got := n.nft("list", "tables"); !slices.Equal(got, []string{"table ip mine"}) {
			t.Errorf("after Delete there are %q", got)
		}
	}
	if got := n.nft("list", "table", "ip", "mine"); !slices.Equal(got, mine) {
		t.Errorf("a table that is not ours became %q", got)
	}
}

func TestHostsInPlace(t *testing.T) {
	n := newNamespace(t)
	inPlace := func() (hosts []netip.Addr) {
		n.mustIn(func() (err error) {
			hosts, err = hostsInPlace()
			return err
		})
		return hosts
	}
	if got := inPlace(); len(got) > 0 {
		t.Errorf("without a table there are hosts %v", got)
	}
	for _, hosts := range [][]string{{}, {"10.0.0.2", "10.0.0.1", "192.168.7.200"}, {"10.0.0.1"}} {
		rules := testRules(hosts...)
		n.mustIn(func() error { return Apply(rules) })
		slices.SortFunc(rules.Hosts, netip.Addr.Compare)
		if got := inPlace(); !slices.Equal(got, rules.Hosts) {
			t.Errorf("the table has the hosts %v, want %v", got, rules.Hosts)
		}
	}
}
