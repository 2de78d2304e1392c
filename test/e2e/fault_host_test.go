//go:build faults

package e2e

import (
	"fmt"
	"slices"
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
	if err := c.openMembers(host); err != nil {
		c.t.Fatal(err)
	}
	c.calm(20 * time.Second)
	c.untouched(before)
}

const membersTable = "e2e_members"

// closeMembers cuts a host off from the etcd members of the others, and them from its own.
func (c *cluster) closeMembers(host int) error {
	_, err := c.hosts.Host(host).Exec(c.t.Context(), "nft", fmt.Sprintf(`
table ip %[1]s {
	chain out { type filter hook output priority 0; ip daddr != %[2]s tcp dport { 2379, 2380 } drop; }
	chain in { type filter hook input priority 0; ip saddr != %[2]s tcp dport { 2379, 2380 } drop; }
}`, membersTable, c.ip(host)))
	return err
}

// openMembers ends closeMembers.
func (c *cluster) openMembers(host int) error {
	_, err := c.hosts.Host(host).Exec(c.t.Context(), "nft", fmt.Sprintf("table ip %[1]s; delete table ip %[1]s", membersTable))
	return err
}

// survivesPartition cuts nginx's host off from all others. They take its work over; it goes on
// itself too, since it knows nothing, until it is joined again.
func (c *cluster) survivesPartition(cut int) {
	var others []*vhost.Host
	for n := 1; n <= c.scale; n++ {
		if n != cut {
			others = append(others, c.hosts.Host(n))
		}
	}
	before := c.instances("")
	if err := c.hosts.Host(cut).Partition(c.t.Context(), others...); err != nil {
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
