// Package e2e runs the product as a user would, on virtual hosts: real Docker Engines, real etcd,
// the real images, curl, dig and docker. It needs root, and what "make test" builds and installs.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/vhost"
	"github.com/dokkaa/dokkaa/internal/vhosttest"
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
	aside  int // a host that a fault keeps from answering, 0 for none
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
	vhosttest.Claim(t, name)
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
	c.put(1, "nginx", fmt.Sprintf(`{%s, "image": "dockerfile/nginx", "scale": %d, "services": {"nginx": 80}}`, hurry, scale))
}

func (c *cluster) crawler() {
	c.t.Helper()
	c.put(1, "crawler", c.manifest("crawler"))
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
