package e2e

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// outside is an address beyond the hosts' network.
var outside = netip.MustParseAddr("198.51.100.7")

// isIsolated: a container reaches what its manifest links to and the outside world, and nothing
// else of the cluster.
func (c *cluster) isIsolated() {
	crawler, nginx := c.one("crawler"), c.one("nginx")
	addr := c.mustDocker(nginx.host, "port", nginx.id, "80/tcp")
	for name, target := range map[string]string{
		"its own host's keys":       c.ip(crawler.host) + ":4001",
		"another host's keys":       c.ip(nginx.host) + ":4001",
		"keys at the gateway":       "172.30.0.1:4001",
		"etcd":                      c.ip(1) + ":2379",
		"etcd's peers":              c.ip(1) + ":2380",
		"another's published port":  strings.TrimSpace(addr),
		"the cloud's metadata":      "169.254.169.254:80",
		"the ambassador, unlinked":  "172.30.0.1:10002",
		"the ambassador's metrics":  "172.30.0.1:4003",
		"conductor of another host": c.ip(nginx.host) + ":4002",
	} {
		if out, err := c.fetch(crawler, target); err == nil {
			c.t.Errorf("%s (%s) answers: %s", name, target, out)
		}
	}
	if out, err := c.fetch(crawler, "172.30.0.1:10001"); err != nil || !strings.Contains(out, "Welcome to nginx") {
		c.t.Errorf("the link does not work: %s, %v", out, err)
	}
	c.reachesOutside(crawler)
	c.hasNoDirectTraffic()
	c.getsNoByteWithoutLink(crawler)
}

// fetch asks for a page from inside a container.
func (c *cluster) fetch(from instance, target string) (string, error) {
	return c.docker(from.host, "exec", from.id, "curl", "-sS", "--max-time", "2", "http://"+target+"/")
}

func (c *cluster) reachesOutside(from instance) {
	ctx := c.t.Context()
	beyond, err := c.hosts.AddOutside(ctx, outside)
	if err != nil {
		c.t.Fatal(err)
	}
	listener, err := beyond.Listen(ctx, "tcp", outside.String()+":80")
	if err != nil {
		c.t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the outside world") }),
		ReadHeaderTimeout: time.Second}
	defer server.Close()
	go server.Serve(listener) //nolint:errcheck // ends with Close
	if out, err := c.fetch(from, outside.String()); err != nil || out != "the outside world" {
		c.t.Errorf("the outside does not answer: %q, %v", out, err)
	}
}

// hasNoDirectTraffic: two containers of one host do not reach each other.
func (c *cluster) hasNoDirectTraffic() {
	c.nginx(3) // one per host, so one beside the crawler
	c.healthy(10*time.Second, "nginx", 3)
	crawler := c.one("crawler")
	for _, i := range c.instances("nginx") {
		if i.host != crawler.host {
			continue
		}
		addr := c.mustDocker(i.host, "inspect", "-f", `{{(index .NetworkSettings.Networks "dokkaa").IPAddress}}`, i.id)
		if out, err := c.fetch(crawler, addr); err == nil {
			c.t.Errorf("a container beside it answers directly: %s", out)
		}
		published := strings.TrimSpace(c.mustDocker(i.host, "port", i.id, "80/tcp"))
		if out, err := c.fetch(crawler, published); err == nil {
			c.t.Errorf("a published port of its own host answers: %s", out)
		}
	}
	c.nginx(1)
	c.healthy(30*time.Second, "nginx", 1)
}

// getsNoByteWithoutLink: what a container's own environment names gives it no right.
func (c *cluster) getsNoByteWithoutLink(crawler instance) {
	c.put(1, "stranger", `{"image": "dockerfile/ubuntu", "env": {"BACKENDS_10001": "nginx.dummy.skydns.local"}, "command": ["/bin/bash", "-c", "while true; do sleep 1; done"]}`)
	c.healthy(10*time.Second, "stranger", 1)
	stranger := c.one("stranger")
	if out, err := c.fetch(stranger, "172.30.0.1:10001"); err == nil || out != "" {
		c.t.Errorf("a container without the link got %q", out)
	}
	c.mustDocker(crawler.host, "run", "-d", "--name", "foreign", "--network", "dokkaa", "-e", "BACKENDS_10001=nginx.dummy.skydns.local",
		"dockerfile/ubuntu", "/bin/bash", "-c", "while true; do sleep 1; done")
	foreign := instance{host: crawler.host, id: "foreign"}
	if out, err := c.fetch(foreign, "172.30.0.1:10001"); err == nil || out != "" {
		c.t.Errorf("a container that the conductor did not make got %q", out)
	}
	c.mustDocker(crawler.host, "rm", "-f", "foreign")
	c.remove(1, "stranger")
	c.gone(20*time.Second, "stranger")
}
