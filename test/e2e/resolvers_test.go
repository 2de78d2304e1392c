package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// answersResolvers: the resolvers that programs are linked with, and the tools that people ask
// with, find a service from inside a container whose only nameserver is the cluster's, asked
// directly, and by a container of the cluster, through Docker's nameserver.
func (c *cluster) answersResolvers() {
	nginx, crawler := c.one("nginx"), c.one("crawler")
	c.buildResolvers(crawler.host)
	c.put(crawler.host, "asking", `{"image": "test/resolvers", "command": ["sleep", "100000"], "constraints": ["host.ip == `+c.ip(crawler.host)+`"]}`)
	c.healthy(10*time.Second, "asking", 1)
	defer func() {
		c.remove(1, "asking")
		c.gone(15*time.Second, "asking")
	}()
	c.mustDocker(crawler.host, "run", "-d", "--name", "asking-directly", "--dns", c.ip(crawler.host), "test/resolvers", "sleep", "100000")
	defer c.mustDocker(crawler.host, "rm", "-f", "asking-directly")
	c.run("curl", "-sS", "-XPUT", "--data-urlencode", `value={"host": "nginx.dummy.skydns.local", "ttl": 5}`, c.key(1, "/skydns/local/skydns/alias"))
	defer c.run("curl", "-sS", "-XDELETE", c.key(1, "/skydns/local/skydns/alias"))

	host, port, err := net.SplitHostPort(nginx.published)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, container := range []string{c.one("asking").id, "asking-directly"} {
		c.finds(crawler.host, container, host, port)
	}
}

// finds holds that every resolver in a container finds nginx at its one address and port, also by
// its alias, and knows that another name does not exist.
func (c *cluster) finds(on int, container, host, port string) {
	c.t.Helper()
	const name, alias, missing = "nginx.dummy.skydns.local", "alias.skydns.local", "missing.dummy.skydns.local"
	for _, ask := range []struct{ command, want string }{
		{"dig +short SRV " + name, port},
		{"dig +short +tcp SRV " + name, port},
		{"dig +short A " + name, host},
		{"dig +short A " + alias, host},
		{"kdig +short SRV " + name, port},
		{"kdig +short +tcp A " + alias, host},
		{"getent ahosts " + name, host},
		{"getent ahosts " + alias, host},
		{"lookup " + name, host},
		{"lookup " + alias, host},
		{"resolver srv " + name, net.JoinHostPort(host, port)},
		{"resolver host " + name, host},
		{"resolver host " + alias, host},
		{"dig " + missing, "status: NXDOMAIN"},
		{"kdig " + missing, "status: NXDOMAIN"},
	} {
		out, err := c.docker(on, append([]string{"exec", container}, strings.Fields(ask.command)...)...)
		if err != nil || !strings.Contains(out, ask.want) {
			c.t.Errorf("%s: %s says %q, err %v, want %q", container, ask.command, out, err, ask.want)
		}
	}
	for _, command := range []string{"getent ahosts ", "lookup ", "resolver host "} {
		if out, err := c.docker(on, append([]string{"exec", container}, strings.Fields(command+missing)...)...); err == nil {
			c.t.Errorf("%s: %s%s says %q", container, command, missing, out)
		}
	}
}

// buildResolvers makes an image with every resolver on a host: the tools of this machine, a program
// linked with musl, and one of Go's.
func (c *cluster) buildResolvers(host int) {
	c.t.Helper()
	dir := c.t.TempDir()
	tree := filepath.Join(dir, "tree")
	for _, tool := range []string{"dig", "kdig", "getent"} {
		c.copyProgram(tree, tool)
	}
	bin := filepath.Join(tree, "usr/bin")
	c.run("musl-gcc", "-static", "-o", filepath.Join(bin, "lookup"), filepath.Join(root, "test/e2e/testdata/lookup.c"))
	c.run("env", "CGO_ENABLED=0", "go", "build", "-C", root, "-o", filepath.Join(bin, "resolver"), "./test/e2e/resolver")
	file := "FROM dockerfile/ubuntu\nCOPY tree /\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file), 0o644); err != nil {
		c.t.Fatal(err)
	}
	c.mustDocker(host, "build", "-q", "-t", "test/resolvers", dir)
}

// copyProgram copies a program of this machine, with the libraries that it is linked with, into a
// directory.
func (c *cluster) copyProgram(tree, name string) {
	c.t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		c.t.Fatal(err)
	}
	files := []string{program}
	for _, field := range strings.Fields(c.run("ldd", program)) {
		if strings.HasPrefix(field, "/") {
			files = append(files, field)
		}
	}
	for _, file := range slices.Compact(files) {
		to := filepath.Join(tree, "usr", strings.TrimPrefix(file, "/usr"))
		c.run("mkdir", "-p", filepath.Dir(to))
		c.run("cp", "-L", file, to)
	}
}
