// Package e2e runs the product as a user would, on virtual hosts: real Docker Engines, real etcd,
// the real images, curl, dig and docker. It needs root, and what "make test" builds and installs.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/vhost"
)

// slack is by how much the time stated for something may be exceeded here: the machine is shared.
const slack = 3

// cluster is a cluster that dokkaacfg made.
type cluster struct {
	t      *testing.T
	name   string
	subnet string
	scale  int
	hosts  *vhost.Cluster
}

var root = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// newCluster prepares a cluster and sees to it that nothing of it is left after the test, nor of
// an earlier run that ended uncleanly.
func newCluster(t *testing.T, name, subnet string, scale int) *cluster {
	t.Helper()
	hosts, err := vhost.New(vhost.Options{Name: name, Dir: filepath.Join("/var/lib/dokkaa", name), Subnet: netip.MustParsePrefix(subnet)})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, name: name, subnet: subnet, scale: scale, hosts: hosts}
	c.dokkaacfg("down", "--yes")
	t.Cleanup(func() {
		if t.Failed() {
			c.dump()
		}
		c.t = t
		c.dokkaacfg("down", "--yes")
		if left, err := hosts.Leftovers(context.Background()); err != nil || len(left) > 0 {
			t.Errorf("down left %v, err %v", left, err)
		}
	})
	return c
}

// run runs a command and fails the test if it fails.
func (c *cluster) run(name string, args ...string) string {
	c.t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *cluster) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = filepath.Join(root, "examples/nginx-and-crawler")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, errOut.String())
	}
	return string(out), nil
}

func (c *cluster) dokkaacfg(args ...string) string {
	c.t.Helper()
	return c.run(filepath.Join(root, "build/bin/dokkaacfg"), append([]string{"--cluster=" + c.name, "--subnet=" + c.subnet}, args...)...)
}

func (c *cluster) up() {
	c.t.Helper()
	c.dokkaacfg("up", fmt.Sprintf("--scale=%d", c.scale))
}

// docker runs the docker command against a host's Engine.
func (c *cluster) docker(host int, args ...string) (string, error) {
	return c.try("docker", append([]string{"-H", c.hosts.Host(host).DockerHost()}, args...)...)
}

func (c *cluster) mustDocker(host int, args ...string) string {
	c.t.Helper()
	out, err := c.docker(host, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (c *cluster) ip(host int) string { return c.hosts.Host(host).IP().String() }

// key is the URL of an etcd key, at a host's gateway.
func (c *cluster) key(host int, key string) string {
	return "http://" + c.ip(host) + ":4001/v2/keys" + key
}

// put writes a manifest as it is documented.
func (c *cluster) put(host int, name, manifest string) {
	c.t.Helper()
	out := c.run("curl", "-sS", "-L", "-XPUT", "--data-urlencode", "value="+manifest, c.key(host, "/apps/dummy/"+name+"/manifest"))
	if !strings.Contains(out, `"action":"set"`) {
		c.t.Fatalf("put %s: %s", name, out)
	}
}

func (c *cluster) remove(host int, name string) {
	c.t.Helper()
	c.run("curl", "-sS", "-L", "-XDELETE", c.key(host, "/apps/dummy/"+name+"/manifest"))
}

// nginx puts nginx.json with another scale.
func (c *cluster) nginx(scale int) {
	c.t.Helper()
	c.put(1, "nginx", fmt.Sprintf(`{"image": "dockerfile/nginx", "scale": %d, "services": {"nginx": 80}}`, scale))
}

func (c *cluster) crawler() {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "examples/nginx-and-crawler/crawler.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.put(1, "crawler", string(data))
}

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

// eventually waits until ask returns nil, for at most the stated time with slack.
func (c *cluster) eventually(stated time.Duration, what string, ask func() error) {
	c.t.Helper()
	start := time.Now()
	for {
		err := ask()
		took := time.Since(start)
		if err == nil {
			c.t.Logf("%s: after %s (stated: %s)", what, took.Round(10*time.Millisecond), stated)
			return
		}
		if took > slack*stated {
			c.t.Fatalf("%s: not after %s: %v", what, took, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// healthy waits until n instances of a container are healthy and nothing else of it runs.
func (c *cluster) healthy(stated time.Duration, name string, n int) {
	c.t.Helper()
	c.eventually(stated, fmt.Sprintf("%d of %s healthy", n, name), func() error {
		s, err := c.status(c.aHost(), name)
		if err != nil {
			return err
		}
		if s.Healthy != n || s.Wanted != n || len(s.Slots) != n || s.State == "updating" {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
}

// aHost is the number of a host that is on.
func (c *cluster) aHost() int {
	for n := 1; n <= c.scale; n++ {
		if on, err := c.hosts.Host(n).On(); err == nil && on {
			return n
		}
	}
	c.t.Fatal("no host is on")
	return 0
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
	id        string
	name      string
	startedAt string
}

// instances are the running user containers on hosts that are on, of one name or, with "", all.
func (c *cluster) instances(name string) []instance {
	c.t.Helper()
	var all []instance
	for n := 1; n <= c.scale; n++ {
		if on, err := c.hosts.Host(n).On(); err != nil || !on {
			continue
		}
		args := []string{"ps", "-q", "--no-trunc", "--filter", "label=dokkaa.cluster"}
		if name != "" {
			args = append(args, "--filter", "label=dokkaa.name="+name)
		}
		for _, id := range strings.Fields(c.mustDocker(n, args...)) {
			out := strings.Fields(c.mustDocker(n, "inspect", "-f", "{{.Name}} {{.State.StartedAt}}", id))
			all = append(all, instance{host: n, id: id, name: strings.TrimPrefix(out[0], "/"), startedAt: out[1]})
		}
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
	var servers []string
	for line := range strings.Lines(out) {
		if rest, found := strings.CutPrefix(strings.TrimSpace(line), "<p>This page was served by "); found {
			servers = append(servers, strings.TrimSuffix(rest, ".</p>"))
		}
	}
	return servers, nil
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

// dump shows what helps to understand a failure.
func (c *cluster) dump() {
	out, err := c.try(filepath.Join(root, "build/bin/dokkaacfg"), "--cluster="+c.name, "--subnet="+c.subnet, "status")
	c.t.Logf("status (err %v):\n%s", err, out)
	for n := 1; n <= c.scale; n++ {
		out, err := c.docker(n, "ps", "-a")
		c.t.Logf("host %d (err %v):\n%s", n, err, out)
		for _, daemon := range []string{"conductor", "ambassador", "skydns", "gateway", "etcd", "dokkaa-firewall"} {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			out, err := exec.CommandContext(ctx, "docker", "-H", c.hosts.Host(n).DockerHost(), "logs", "--tail", "60", daemon).CombinedOutput()
			cancel()
			c.t.Logf("host %d: %s (err %v):\n%s", n, daemon, err, out)
		}
	}
}
