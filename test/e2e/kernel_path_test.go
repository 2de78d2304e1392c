package e2e

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// connectsInTheKernel: connections go past the ambassador if it is told so, and are refused once
// nobody looks after them.
func (c *cluster) connectsInTheKernel() {
	c.ambassadorMode("kernel")
	crawler := c.one("crawler")
	c.eventually(20*time.Second, "nginx is the kernel's", func() error {
		known, err := c.hosts.Host(crawler.host).Exec(c.t.Context(), "curl", "-s", "127.0.0.1:4003/debug/callers")
		if _, kernel, _ := strings.Cut(known, `"kernel"`); err == nil && (!strings.Contains(kernel, "nginx.dummy.skydns.local\"\n") || strings.Contains(kernel, `"error"`)) {
			err = errors.New(kernel)
		}
		return err
	})
	c.mustDocker(crawler.host, "pause", "ambassador")
	if out, err := c.crawlLink(crawler, 10); err != nil {
		c.t.Errorf("with the ambassador paused, just now: %v: %s", err, out)
	}
	time.Sleep(4 * time.Second)
	if out, err := c.fetch(crawler, "172.30.0.1:10001"); err == nil {
		c.t.Errorf("an ambassador that is paused since 4 s answers: %s", out)
	}
	c.mustDocker(crawler.host, "unpause", "ambassador")
	c.eventually(5*time.Second, "the link works again", func() error {
		_, err := c.crawlLink(crawler, 1)
		return err
	})
	for _, i := range c.instances("nginx") {
		killed := make(chan error, 1)
		go func() {
			_, err := c.docker(i.host, "kill", i.id)
			killed <- err
		}()
		if out, err := c.crawlLink(crawler, 150); err != nil {
			c.t.Errorf("while %s was killed on host %d: %v: %s", i.name, i.host, err, out)
		}
		if err := <-killed; err != nil {
			c.t.Error(err)
		}
		c.healthy(10*time.Second, "nginx", 4)
	}
	c.ambassadorMode("proxy")
	c.eventually(10*time.Second, "the link works as before", func() error {
		_, err := c.crawlLink(crawler, 1)
		return err
	})
}

// ambassadorMode has all ambassadors work so.
func (c *cluster) ambassadorMode(mode string) {
	c.t.Helper()
	c.dokkaacfg("up", fmt.Sprintf("--scale=%d", c.scale), "--ambassador-mode="+mode)
}

// crawlLink asks for so many pages from inside the crawler, and errs if one does not come.
func (c *cluster) crawlLink(crawler instance, pages int) (string, error) {
	return c.docker(crawler.host, "exec", crawler.id, "bash", "-c",
		fmt.Sprintf("for i in $(seq %d); do curl -sS --max-time 5 -o /dev/null http://172.30.0.1:10001/ || exit 1; done", pages))
}
