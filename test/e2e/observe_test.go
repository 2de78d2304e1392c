package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// keys lists the keys below dir with their values, asking the given host's gateway.
func (c *cluster) keys(host int, dir string) (map[string]string, error) {
	out, err := c.try("curl", "-sS", "--max-time", "5", c.key(host, dir)+"?recursive=true&quorum=true")
	if err != nil {
		return nil, err
	}
	type node struct {
		Key, Value string
		Dir        bool
		Nodes      []json.RawMessage
	}
	var reply struct {
		Node      json.RawMessage
		ErrorCode int
	}
	if err := json.Unmarshal([]byte(out), &reply); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	keys := map[string]string{}
	if reply.ErrorCode == 100 { // key not found
		return keys, nil
	}
	var collect func(raw json.RawMessage) error
	collect = func(raw json.RawMessage) error {
		var n node
		if err := json.Unmarshal(raw, &n); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if !n.Dir {
			keys[n.Key] = n.Value
		}
		for _, child := range n.Nodes {
			if err := collect(child); err != nil {
				return err
			}
		}
		return nil
	}
	return keys, collect(reply.Node)
}

func (c *cluster) status(host int, name string) (s state.Status, err error) {
	keys, err := c.keys(host, "/apps/dummy/"+name)
	if err != nil {
		return s, err
	}
	value, there := keys["/apps/dummy/"+name+"/status"]
	if !there {
		return s, fmt.Errorf("%s has no status", name)
	}
	return s, json.Unmarshal([]byte(value), &s)
}

// aHost is the number of a host that is on and not set aside.
func (c *cluster) aHost() int {
	for n := 1; n <= c.scale; n++ {
		if c.answers(n) {
			return n
		}
	}
	c.t.Fatal("no host is on")
	return 0
}

// answers tells whether a host can be asked: it is on, and no fault keeps it from answering.
func (c *cluster) answers(host int) bool {
	on, err := c.hosts.Host(host).On()
	return err == nil && on && host != c.aside
}

// hasHealth asks Docker for what a daemon's HEALTHCHECK says.
func (c *cluster) hasHealth(host int, daemon string) error {
	out, err := c.docker(host, "inspect", "-f", "{{.State.Health.Status}}", daemon)
	if err == nil && strings.TrimSpace(out) != "healthy" {
		err = fmt.Errorf("%s is %s", daemon, strings.TrimSpace(out))
	}
	return err
}

// instance is a running user container.
type instance struct {
	host      int
	id        string // the container's
	name      string // likewise, in Docker
	of        string // the name it has in its application
	instance  string
	startedAt string
	published string // addresses that its ports are published at
}

const instanceFormat = `{{.Id}} {{.Name}} {{index .Config.Labels "dokkaa.name"}} {{index .Config.Labels "dokkaa.instance"}} {{.State.StartedAt}} ` +
	`{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}}:{{.HostPort}},{{end}}{{end}}`

// instances are the running user containers on hosts that answer, of one name or, with "", all.
func (c *cluster) instances(name string) []instance {
	c.t.Helper()
	var all []instance
	for n := 1; n <= c.scale; n++ {
		if c.answers(n) {
			all = append(all, c.instancesOn(n, name)...)
		}
	}
	return all
}

// instancesOn are the running user containers of one host.
func (c *cluster) instancesOn(host int, name string) (all []instance) {
	c.t.Helper()
	filter := "label=dokkaa.name"
	if name != "" {
		filter += "=" + name
	}
	ids := strings.Fields(c.mustDocker(host, "ps", "-q", "--no-trunc", "--filter", "label=dokkaa.cluster", "--filter", filter))
	if len(ids) == 0 {
		return nil
	}
	// One that is removed between the two commands does not run any more, which is no error.
	out, _ := c.docker(host, append([]string{"inspect", "-f", instanceFormat}, ids...)...)
	for line := range strings.Lines(out) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		fields := append(strings.Fields(line), "")
		if len(fields) < 6 {
			c.t.Fatalf("docker inspect says %q", line)
		}
		all = append(all, instance{host: host, id: fields[0], name: strings.TrimPrefix(fields[1], "/"), of: fields[2],
			instance: fields[3], startedAt: fields[4], published: strings.TrimSuffix(fields[5], ",")})
	}
	return all
}

func (c *cluster) one(name string) instance {
	c.t.Helper()
	all := c.instances(name)
	if len(all) != 1 {
		c.t.Fatalf("%d instances of %s: %+v", len(all), name, all)
	}
	return all[0]
}

// pages are the hostnames of the servers whose pages the crawler logged since a moment.
func (c *cluster) pages(crawler instance, since time.Time) ([]string, error) {
	out, err := c.docker(crawler.host, "logs", "--since", since.UTC().Format(time.RFC3339Nano), crawler.id)
	if err != nil {
		return nil, err
	}
	return servers(out), nil
}

// servers are the hostnames in the demo's pages.
func servers(pages string) (hostnames []string) {
	for line := range strings.Lines(pages) {
		if rest, found := strings.CutPrefix(strings.TrimSpace(line), "<p>This page was served by "); found {
			hostnames = append(hostnames, strings.TrimSuffix(rest, ".</p>"))
		}
	}
	return hostnames
}

// crawls waits until the crawler sees a page that was served after now.
func (c *cluster) crawls(stated time.Duration, why string) {
	c.t.Helper()
	crawler, since := c.one("crawler"), time.Now()
	c.eventually(stated, "the crawler sees the page, "+why, func() error {
		servers, err := c.pages(crawler, since)
		if err == nil && len(servers) == 0 {
			err = fmt.Errorf("no page since %s", since)
		}
		return err
	})
}

// srv are the targets' addresses and ports that dig gives for a service.
func (c *cluster) srv(host int, name string) ([]string, error) {
	out, err := c.try("dig", "+short", "+time=2", "+tries=1", "SRV", name, "@"+c.ip(host))
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			return nil, fmt.Errorf("dig says %q", out)
		}
		addr, err := c.try("dig", "+short", "+time=2", "+tries=1", "A", fields[3], "@"+c.ip(host))
		if err != nil {
			return nil, err
		}
		all = append(all, strings.TrimSpace(addr)+":"+fields[2])
	}
	return all, nil
}
