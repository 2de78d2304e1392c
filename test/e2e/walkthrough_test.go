package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTwoHosts is the demo and what holds on its two hosts: the walk-through, and the loss of each.
func TestTwoHosts(t *testing.T) {
	c := newCluster(t, "e2etwo", "10.112.0.0/24", 2)
	out := c.dokkaacfg("demo")
	for _, want := range []string{"Welcome to nginx", "curl -L -XPUT --data-urlencode", "down"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
	again := c.dokkaacfg("demo")
	if !strings.Contains(again, "Welcome to nginx") {
		t.Errorf("the second demo does not show the page:\n%s", again)
	}

	step(t, c, "nginx and the crawler share the hosts", (*cluster).sharesHosts)
	step(t, c, "four nginx, two per host", (*cluster).scalesToFour)
	step(t, c, "a sticky link leads to one of them", (*cluster).staysWithOne)
	step(t, c, "the kernel connects, if it is to", (*cluster).connectsInTheKernel)
	step(t, c, "the host without etcd is lost", (*cluster).losesHostWithoutEtcd)
	step(t, c, "the host with etcd is lost", (*cluster).losesHostWithEtcd)
}

// step runs a part of a scenario. The next part builds on it, so a failure ends all.
func step(t *testing.T, c *cluster, name string, run func(*cluster)) {
	t.Helper()
	passed := t.Run(name, func(t *testing.T) {
		c.t = t
		run(c)
	})
	c.t = t
	if !passed {
		t.FailNow()
	}
}

func (c *cluster) sharesHosts() {
	nginx, crawler := c.one("nginx"), c.one("crawler")
	if nginx.host == crawler.host {
		c.t.Errorf("both run on host %d", nginx.host)
	}
	if nginx.name != "dummy---nginx" || crawler.name != "dummy---crawler" {
		c.t.Errorf("they are called %s and %s", nginx.name, crawler.name)
	}
}

// scalesToFour: two per host, four answers from every nameserver, and crawls over all four.
func (c *cluster) scalesToFour() {
	before := c.one("nginx")
	c.nginx(4)
	c.healthy(10*time.Second, "nginx", 4)
	perHost := map[int]int{}
	kept := false
	names := map[string]bool{}
	for _, i := range c.instances("nginx") {
		perHost[i.host]++
		names[i.name] = true
		kept = kept || i.id == before.id && i.startedAt == before.startedAt
	}
	if perHost[1] != 2 || perHost[2] != 2 || !kept {
		c.t.Errorf("per host: %v, the first still runs: %v", perHost, kept)
	}
	for _, name := range []string{"dummy---nginx", "dummy---nginx---2", "dummy---nginx---3", "dummy---nginx---4"} {
		if !names[name] {
			c.t.Errorf("no container %s: %v", name, names)
		}
	}
	for host := 1; host <= 2; host++ {
		c.eventually(5*time.Second, "four SRV answers", func() error {
			answers, err := c.srv(host, "nginx.dummy.skydns.local")
			if err == nil && len(answers) != 4 {
				err = fmt.Errorf("answers: %v", answers)
			}
			return err
		})
	}
	crawler, since := c.one("crawler"), time.Now()
	c.eventually(60*time.Second, "crawls spread over all four", func() error {
		servers, err := c.pages(crawler, since)
		if err != nil {
			return err
		}
		slices.Sort(servers)
		if seen := slices.Compact(servers); len(seen) < 4 {
			return fmt.Errorf("seen: %v", seen)
		}
		return nil
	})
}

func (c *cluster) losesHostWithoutEtcd() {
	c.nginx(1)
	c.healthy(20*time.Second, "nginx", 1)
	if c.one("crawler").host == 2 { // have the crawler on the host that stays
		c.remove(1, "crawler")
		c.remove(1, "nginx")
		c.gone(30*time.Second, "crawler")
		c.gone(30*time.Second, "nginx")
		c.crawler()
		c.healthy(10*time.Second, "crawler", 1)
		c.nginx(1)
		c.healthy(10*time.Second, "nginx", 1)
	}
	if nginx := c.one("nginx"); nginx.host != 2 {
		c.t.Fatalf("nginx is on host %d", nginx.host)
	}
	c.losesHost(2)
}

// losesHost powers a host off that nginx is on and the crawler is not: nginx runs elsewhere, and
// when the host is back, nothing runs twice and no record is stale.
func (c *cluster) losesHost(lost int) {
	ctx := c.t.Context()
	if err := c.hosts.Host(lost).PowerOff(ctx); err != nil {
		c.t.Fatal(err)
	}
	start := time.Now()
	c.eventually(15*time.Second, fmt.Sprintf("nginx serves again after the loss of host %d", lost), func() error {
		s, err := c.status(c.aHost(), "nginx")
		if err != nil {
			return err
		}
		if len(s.Slots) != 1 || s.Slots[0].Host == c.ip(lost) || s.Slots[0].Phase != "healthy" {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	c.crawls(5*time.Second, "after the loss of a host")
	c.t.Logf("page again %s after the loss", time.Since(start).Round(100*time.Millisecond))
	c.freshRecord()

	if err := c.hosts.Host(lost).PowerOn(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.eventually(30*time.Second, "the host is back", func() error {
		keys, err := c.keys(c.aHost(), "/hosts")
		if _, leased := keys["/hosts/"+c.ip(lost)+"/lease"]; err == nil && !leased {
			err = fmt.Errorf("keys %v", keys)
		}
		return err
	})
	c.calm(40 * time.Second) // nothing runs twice, and the host has its share
	c.freshRecord()
	c.crawls(5*time.Second, "after the host came back")
}

// freshRecord: every nameserver that is on answers with the one instance there is.
func (c *cluster) freshRecord() {
	for n := 1; n <= c.scale; n++ {
		if !c.answers(n) {
			continue
		}
		c.eventually(5*time.Second, fmt.Sprintf("host %d answers with where nginx is", n), func() error {
			nginx := c.one("nginx")
			port := c.mustDocker(nginx.host, "port", nginx.id, "80/tcp")
			answers, err := c.srv(n, "nginx.dummy.skydns.local")
			if err != nil {
				return err
			}
			if len(answers) != 1 || answers[0] != strings.TrimSpace(port) {
				return fmt.Errorf("dig says %v, docker port %s", answers, port)
			}
			return nil
		})
	}
}

// losesHostWithEtcd: no container stops and no link is cut on the host that is left, though
// nothing can be decided any more.
func (c *cluster) losesHostWithEtcd() {
	c.nginx(2)
	c.put(1, "crawler", strings.Replace(c.manifest("crawler"), `"scale": 1`, `"scale": 2`, 1))
	c.healthy(20*time.Second, "nginx", 2)
	c.healthy(20*time.Second, "crawler", 2)
	var before []instance
	for _, i := range c.instances("") {
		if i.host == 2 {
			before = append(before, i)
		}
	}
	if err := c.hosts.Host(1).PowerOff(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.crawlsOn(2, 5*time.Second, "with etcd's host gone")
	pause(20 * time.Second) // leases end meanwhile
	c.crawlsOn(2, 5*time.Second, "after all leases ended")
	if after := c.instances(""); !slices.Equal(before, after) {
		c.t.Errorf("before %+v, after %+v", before, after)
	}
	if err := c.hosts.Host(1).PowerOn(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.healthy(60*time.Second, "nginx", 2)
	for _, i := range before {
		if !slices.Contains(c.instances(""), i) {
			c.t.Errorf("%+v did not live through it", i)
		}
	}
}
