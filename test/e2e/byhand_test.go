package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestByHand runs the commands of docs/operations.md on one host, in the opposite order: the
// daemons may start in any.
func TestByHand(t *testing.T) {
	t.Parallel() // it waits more than it works, and is held to no time that matters
	c := newCluster(t, "e2ehand", "10.111.0.0/24", 1)
	if err := c.hosts.Up(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	images, err := filepath.Glob(filepath.Join(root, "build/images/*.tar"))
	if err != nil || len(images) < 7 {
		t.Fatalf("images: %v, err %v", images, err)
	}
	for _, image := range images {
		c.mustDocker(1, "load", "-q", "-i", image)
	}
	commands := documented(t, "docs/operations.md", "docker run -d")
	if len(commands) != 6 {
		t.Fatalf("documented: %q", commands)
	}
	run := func(command string) {
		command = strings.ReplaceAll(command, "10.0.0.1", c.ip(1))
		c.mustDocker(1, strings.Fields(command)[1:]...)
	}
	daemons, next := commands[:5], commands[5]
	slices.Reverse(daemons)
	for _, command := range daemons {
		run(command)
		pause(time.Second) // for each to find that the others are not there yet
	}
	c.eventually(20*time.Second, "the cluster takes manifests", func() error {
		_, err := c.keys(1, "/hosts/"+c.ip(1)+"/lease")
		return err
	})
	c.put(1, "nginx", c.manifest("nginx"))
	c.put(1, "crawler", c.manifest("crawler"))
	c.healthy(20*time.Second, "nginx", 1)
	c.healthy(20*time.Second, "crawler", 1)
	c.crawls(10*time.Second, "on a host made by hand")
	for _, daemon := range []string{"etcd", "gateway", "skydns", "conductor", "ambassador", "dokkaa-firewall"} {
		c.eventually(20*time.Second, daemon+" is healthy", func() error {
			return c.hasHealth(1, daemon)
		})
	}
	run(next)
	c.eventually(20*time.Second, "ambassador2 is healthy", func() error { return c.hasHealth(1, "ambassador2") })
	c.mustDocker(1, "stop", "ambassador")
	c.crawls(10*time.Second, "through the ambassador that came next")
}

// documented are the commands in a document's code blocks that begin with a prefix.
func documented(t *testing.T, file, prefix string) (commands []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if command, found := strings.CutPrefix(line, "    "); found && strings.HasPrefix(command, prefix) {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}
