package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// replacesAmbassadors brings every host another image of the ambassador, with up.
func (c *cluster) replacesAmbassadors() {
	before := c.ambassadors()
	c.dokkaacfg("up", fmt.Sprintf("--scale=%d", c.scale), "--images="+c.anotherAmbassador())
	c.eventually(20*time.Second, "every host has one ambassador, and a new one", func() error {
		now := c.ambassadors()
		for host, names := range now {
			if names == before[host] || strings.Contains(names, "-before-") {
				return fmt.Errorf("host %d has %s", host, names)
			}
		}
		return nil
	})
	// Back to what the other parts of the test start with, and what has drained meanwhile goes.
	c.up()
	for host, names := range c.ambassadors() {
		if strings.Count(names, "ambassador") > 2 || strings.Contains(names, "-before-") {
			c.t.Errorf("host %d has %s", host, names)
		}
	}
}

// ambassadors are the containers of it that run on each host, with their ids.
func (c *cluster) ambassadors() map[int]string {
	c.t.Helper()
	all := make(map[int]string)
	for host := 1; host <= c.scale; host++ {
		all[host] = c.mustDocker(host, "ps", "-a", "--filter=label=dokkaa.daemon=ambassador", "--format={{.ID}} {{.Names}} {{.State}}")
	}
	return all
}

// anotherAmbassador is a directory of images, of which only the ambassador's is another.
func (c *cluster) anotherAmbassador() string {
	c.t.Helper()
	dir := c.t.TempDir()
	built, err := filepath.Glob(filepath.Join(root, "build/images/*.tar"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, file := range built {
		if err := os.Symlink(file, filepath.Join(dir, filepath.Base(file))); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "dokkaa-ambassador.tar")); err != nil {
		c.t.Fatal(err)
	}
	c.run("go", "run", "-C", root, "./images", "--release=another", "--bin="+filepath.Join(root, "build/bin"), "--out="+dir, "ambassador")
	return dir
}

// relievesAmbassadorByHand does what one would without dokkaacfg.
func (c *cluster) relievesAmbassadorByHand() {
	c.mustDocker(1, "run", "-d", "--restart=always", "--network=host", "--name=second", "-v=/var/run/docker.sock:/var/run/docker.sock", "dokkaa/ambassador")
	c.healthyContainer("second")
	c.mustDocker(1, "stop", "ambassador")
	time.Sleep(time.Second)
	c.mustDocker(1, "start", "ambassador")
	c.healthyContainer("ambassador")
	c.mustDocker(1, "stop", "second")
	c.mustDocker(1, "rm", "second")
}

// healthyContainer waits until a daemon of host 1 finds that it, and none beside it, serves.
func (c *cluster) healthyContainer(name string) {
	c.t.Helper()
	c.eventually(5*time.Second, name+" is healthy", func() error {
		_, err := c.docker(1, "exec", name, "/ambassador", "--healthcheck")
		return err
	})
}

// staysWithOne has a container with two links to one service, one of which is sticky.
func (c *cluster) staysWithOne() {
	c.put(1, "loyal", `{"image": "dockerfile/ubuntu", "links": [{"to": "nginx", "sticky": true}, {"to": "nginx", "as": "any"}],
		"command": ["/bin/bash", "-c", "while true; do sleep 1; done"], "stop_grace_period": "1s"}`)
	c.healthy(15*time.Second, "loyal", 1)
	loyal := c.one("loyal")
	forty := func(link string) []string {
		c.t.Helper()
		from := servers(c.mustDocker(loyal.host, "exec", loyal.id, "/bin/bash", "-c",
			"for i in {1..40}; do curl -sS --max-time 2 http://$SERVICE_"+link+"_ADDR:$SERVICE_"+link+"_PORT; done"))
		if len(from) != 40 {
			c.t.Errorf("%d pages of 40", len(from))
		}
		slices.Sort(from)
		return slices.Compact(from)
	}
	if got := forty("NGINX"); len(got) != 1 {
		c.t.Errorf("the sticky link led to %v", got)
	}
	if got := forty("ANY"); len(got) != 4 {
		c.t.Errorf("the other one led to %v", got)
	}
	c.remove(1, "loyal")
	c.gone(30*time.Second, "loyal")
}
