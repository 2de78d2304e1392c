//go:build faults

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/vhost"
)

// survivesHostLoss powers nginx's host off and on again.
func (c *cluster) survivesHostLoss(lost int) {
	before := without(c.instances(""), lost)
	c.losesHost(lost)
	c.calm(20 * time.Second)
	c.untouched(before, "nginx", "bystander")
}

// survivesPowerCut: everything comes back by itself, where it was.
func (c *cluster) survivesPowerCut() {
	before := c.instances("")
	ctx := c.t.Context()
	c.each(func(host int) error { return c.hosts.Host(host).PowerOff(ctx) })
	start := time.Now()
	c.each(func(host int) error { return c.hosts.Host(host).PowerOn(ctx) })
	c.t.Logf("power on took %s", time.Since(start).Round(100*time.Millisecond))
	c.calm(60 * time.Second)
	c.t.Logf("all is back %s after power on", time.Since(start).Round(100*time.Millisecond))
	c.crawls(5*time.Second, "after the power cut")
	for _, i := range c.instances("") {
		if !slices.ContainsFunc(before, func(b instance) bool { return b.host == i.host && b.id == i.id }) {
			c.t.Errorf("%+v is another container than before: %+v", i, before)
		}
	}
}

// survivesUnpluggedLink: a host that is back within its lease keeps everything.
func (c *cluster) survivesUnpluggedLink(host int) {
	before, ctx := c.instances(""), c.t.Context()
	if err := c.hosts.Host(host).LinkDown(ctx); err != nil {
		c.t.Fatal(err)
	}
	pause(4 * time.Second)
	if err := c.hosts.Host(host).LinkUp(ctx); err != nil {
		c.t.Fatal(err)
	}
	pause(10 * time.Second)
	c.untouched(before)
	c.calm(15 * time.Second)
	c.untouched(before)
}

// survivesLossOfMembers cuts nginx's host off from the etcd members on the others, and their
// members from its own. It still reaches the other hosts' gateways, so nothing happens to it.
func (c *cluster) survivesLossOfMembers() {
	before, host := c.instances(""), c.one("nginx").host
	if err := c.closeMembers(host); err != nil {
		c.t.Fatal(err)
	}
	pause(20 * time.Second) // longer than any lease
	c.untouched(before)
	if _, err := c.keys(host%c.scale+1, "/apps"); err != nil {
		c.t.Errorf("the others do not have etcd any more: %v", err)
	}
	if err := c.openPorts(host); err != nil {
		c.t.Fatal(err)
	}
	c.calm(20 * time.Second)
	c.untouched(before)
}

const membersTable, doorsTable, trafficTable = "e2e_members", "e2e_doors", "e2e_traffic"

// closeMembers cuts a host off from the etcd members of the others, and them from its own.
func (c *cluster) closeMembers(host int) error { return c.closePorts(host, membersTable, "2379, 2380") }

// closeEtcd does that, and cuts the gateways off too: the host has no etcd any more.
func (c *cluster) closeEtcd(host int) error {
	return c.closePorts(host, doorsTable, "2379, 2380, 4001")
}

func (c *cluster) closePorts(host int, table, ports string) error {
	_, err := c.hosts.Host(host).Exec(c.t.Context(), "nft", fmt.Sprintf(`
table ip %[1]s {
	chain out { type filter hook output priority 0; ip daddr != %[2]s tcp dport { %[3]s } drop; }
	chain in { type filter hook input priority 0; ip saddr != %[2]s tcp dport { %[3]s } drop; }
}`, table, c.ip(host), ports))
	return err
}

// closeTraffic cuts a host off from all others but for what etcd needs.
func (c *cluster) closeTraffic(host int) error {
	var others []string
	for n := 1; n <= c.scale; n++ {
		if n != host {
			others = append(others, c.ip(n))
		}
	}
	_, err := c.hosts.Host(host).Exec(c.t.Context(), "nft", fmt.Sprintf(`
table ip %s {
	chain in {
		type filter hook prerouting priority -300;
		ip saddr { %s } tcp sport != { 2379, 2380, 4001 } tcp dport != { 2379, 2380, 4001 } drop;
	}
}`, trafficTable, strings.Join(others, ", ")))
	return err
}

// openPorts ends all of that.
func (c *cluster) openPorts(host int) error {
	commands := ""
	for _, table := range []string{membersTable, doorsTable, trafficTable} {
		commands += fmt.Sprintf("table ip %[1]s; delete table ip %[1]s;", table)
	}
	_, err := c.hosts.Host(host).Exec(c.t.Context(), "nft", commands)
	return err
}

// updatesWithHostCutOff: a host that lost something in the middle of an update holds it up no longer
// than it takes to be found lost, and takes its share again when it is back.
func (c *cluster) updatesWithHostCutOff(host int, j *journal, cut func(host int) error) {
	c.updatesWithoutHost(host, j, func() error { return cut(host) })
	c.mendNetwork(host)
	c.aside = 0
	c.calm(40 * time.Second)
}

// mendNetwork ends whatever cuts a host off.
func (c *cluster) mendNetwork(host int) {
	c.t.Helper()
	if err := errors.Join(c.openPorts(host), c.hosts.Host(host).Heal(c.t.Context())); err != nil {
		c.t.Fatal(err)
	}
}

// cutOff cuts a host off from all others.
func (c *cluster) cutOff(host int) error {
	var others []*vhost.Host
	for n := 1; n <= c.scale; n++ {
		if n != host {
			others = append(others, c.hosts.Host(n))
		}
	}
	return c.hosts.Host(host).Partition(c.t.Context(), others...)
}

// updatesWithoutTraffic: a host that the others cannot reach says that all is well with it, so nothing
// moves. Callers find what they can reach.
func (c *cluster) updatesWithoutTraffic(host int, j *journal) {
	c.settledWeb(3)
	if err := c.closeTraffic(host); err != nil {
		c.t.Fatal(err)
	}
	before := c.update(3)
	c.underWay(j)
	c.updated(45*time.Second, 3, before)
	pause(5 * time.Second)
	if len(c.instancesOn(host, "web")) == 0 {
		c.t.Error("web left the host")
	}
	c.mendNetwork(host)
	c.calm(20 * time.Second)
}

// survivesPartition cuts nginx's host off from all others. They take its work over; it goes on
// itself too, since it knows nothing, until it is joined again.
func (c *cluster) survivesPartition(cut int) {
	before := c.instances("")
	if err := c.cutOff(cut); err != nil {
		c.t.Fatal(err)
	}
	c.aside = cut
	c.eventually(10*time.Second, "nginx runs on another host", func() error {
		if all := c.instances("nginx"); len(all) != 1 {
			return fmt.Errorf("nginx runs as %+v", all)
		}
		return nil
	})
	c.crawls(5*time.Second, "with nginx's host cut off")
	c.calm(10 * time.Second)
	pause(20 * time.Second)
	c.untouched(without(before, cut), "nginx", "bystander")
	for _, i := range before {
		if i.host == cut && !slices.Contains(c.instancesOn(cut, ""), i) {
			c.t.Errorf("%+v stopped on the host that is cut off", i)
		}
	}
	if err := c.hosts.Host(cut).Heal(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.aside = 0
	c.calm(30 * time.Second)
	c.untouched(without(before, cut), "nginx", "bystander")
	if c.one("nginx").host == cut {
		c.t.Error("nginx moved back")
	}
}
