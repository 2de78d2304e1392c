package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sendsDatagrams: a container on one host reaches the instances of a UDP service on both, and loses
// next to nothing when the one that it uses is taken away.
func (c *cluster) sendsDatagrams() {
	c.buildOnAll("datagrams")
	const service = `{` + hurry + `, "image": "test/datagrams", "command": ["serve"], "scale": %d, "spread": ["host.ip"], "services": {"echo": {"port": 7, "protocol": "udp"}}}`
	c.put(1, "echo", fmt.Sprintf(service, 2))
	c.put(1, "asking", `{"image": "test/datagrams", "links": ["echo"], "constraints": ["host.ip == `+c.ip(1)+`"]}`)
	defer func() {
		c.remove(1, "echo")
		c.remove(1, "asking")
		c.gone(20*time.Second, "echo")
		c.gone(20*time.Second, "asking")
	}()
	c.healthy(15*time.Second, "echo", 2)
	c.healthy(15*time.Second, "asking", 1)
	both := c.instances("echo")
	if len(both) != 2 || both[0].host == both[1].host {
		c.t.Fatalf("instances %+v", both)
	}
	for _, name := range []string{"udp.echo.dummy.skydns.local", "echo.dummy.skydns.local"} {
		if answers, err := c.srv(2, name); err != nil || len(answers) != 2 {
			c.t.Errorf("%s has %q, %v", name, answers, err)
		}
	}
	asking := c.one("asking")
	c.eventually(5*time.Second, "instances on both hosts answer", func() error {
		answered := c.answered(asking, "fresh", time.Now().Add(-2*time.Second))
		if answered[both[0].id[:12]] == 0 || answered[both[1].id[:12]] == 0 {
			return fmt.Errorf("answers: %v", answered)
		}
		return nil
	})
	changed := time.Now()
	c.put(1, "echo", fmt.Sprintf(service, 1))
	taken := both[slices.IndexFunc(both, func(i instance) bool { return strings.HasSuffix(i.name, "---2") })]
	c.eventually(10*time.Second, "the second instance is taken away", func() error {
		left := c.instances("echo")
		if slices.ContainsFunc(left, func(i instance) bool { return i.id == taken.id }) {
			return fmt.Errorf("instances %+v", left)
		}
		return nil
	})
	time.Sleep(time.Second) // of answers without it
	for _, kind := range []string{"steady", "fresh"} {
		if answered := c.answered(asking, kind, changed); answered["lost"] > 1 {
			c.t.Errorf("from a %s socket: %v", kind, answered)
		}
		if answered := c.answered(asking, kind, time.Now().Add(-time.Second)); len(answered) == 0 || answered[taken.id[:12]] > 0 {
			c.t.Errorf("from a %s socket at last: %v", kind, answered)
		}
	}
}

// answered counts who answered to a kind of socket.
func (c *cluster) answered(asking instance, kind string, since time.Time) map[string]int {
	c.t.Helper()
	answered := map[string]int{}
	out := c.mustDocker(asking.host, "logs", "--since", since.UTC().Format(time.RFC3339Nano), asking.id)
	for line := range strings.Lines(out) {
		if of, who, ok := strings.Cut(strings.TrimSpace(line), " "); ok && of == kind {
			answered[who]++
		}
	}
	return answered
}

// buildOnAll makes an image of a program of the tests, the same on all hosts.
func (c *cluster) buildOnAll(program string) {
	c.t.Helper()
	dir := c.t.TempDir()
	c.run("env", "CGO_ENABLED=0", "go", "build", "-C", root, "-o", filepath.Join(dir, program), "./test/e2e/"+program)
	text := fmt.Sprintf("FROM scratch\nCOPY %[1]s /%[1]s\nENTRYPOINT [\"/%[1]s\"]\n", program)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	c.mustDocker(1, "build", "-q", "-t", "test/"+program, dir)
	file := filepath.Join(dir, program+".tar")
	c.mustDocker(1, "save", "-o", file, "test/"+program)
	for n := 2; n <= c.scale; n++ {
		c.mustDocker(n, "load", "-i", file)
	}
}
