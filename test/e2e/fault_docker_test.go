//go:build faults

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dokkaa/dokkaa/internal/vhost"
)

// hang stops the Docker Engine of a host; resume ends that, also if the test fails before.
func (c *cluster) hang(host int) (resume func()) {
	c.t.Helper()
	if err := c.hosts.Host(host).PauseDocker(); err != nil {
		c.t.Fatal(err)
	}
	c.aside = host
	t := c.t
	resume = func() {
		if err := c.hosts.Host(host).ResumeDocker(); err != nil {
			t.Error(err)
		}
		c.aside = 0
	}
	t.Cleanup(resume)
	return resume
}

// survivesHangingDocker: Docker does not answer on nginx's host. Nothing moves.
func (c *cluster) survivesHangingDocker() {
	host := c.nginxOn(neither)
	before := c.instances("")
	records, err := c.keys(1, "/skydns")
	if err != nil {
		c.t.Fatal(err)
	}
	resume := c.hang(host)
	for range 5 {
		pause(6 * time.Second)
		c.crawls(5*time.Second, "with Docker hanging on nginx's host")
		now, err := c.keys(c.aHost(), "/skydns")
		if err != nil {
			c.t.Fatal(err)
		}
		for key, value := range records {
			if now[key] != value {
				c.t.Errorf("record %s was %s and is %s", key, value, now[key])
			}
		}
	}
	c.eventually(30*time.Second, "the host takes no new slots", func() error {
		out, err := c.keys(c.aHost(), "/hosts/"+c.ip(host)+"/lease")
		if lease := out["/hosts/"+c.ip(host)+"/lease"]; err == nil && !strings.Contains(lease, "Docker") {
			err = fmt.Errorf("lease %s", lease)
		}
		return err
	})
	c.put(c.aHost(), "late", fmt.Sprintf(idle, 3))
	c.healthy(10*time.Second, "late", 3)
	resume()
	if slices.ContainsFunc(c.instances("late"), func(i instance) bool { return i.host == host }) {
		c.t.Error("the host whose Docker hung was given a container")
	}
	c.remove(1, "late")
	c.gone(20*time.Second, "late")
	c.untouched(before)
}

// withdrawsWhileDockerHangs: nginx dies while Docker hangs and nobody can start it again. The
// probe decides: it is not announced any more, and the others' answers stay.
func (c *cluster) withdrawsWhileDockerHangs() {
	c.nginxOn(neither)
	nginx := c.one("nginx")
	before := without(c.instances(""), 0, "nginx")
	pid, err := c.pid(nginx.host, nginx.id)
	if err != nil {
		c.t.Fatal(err)
	}
	resume := c.hang(nginx.host)
	pause(25 * time.Second) // for the conductor to notice
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	c.eventually(15*time.Second, "dead nginx is not announced any more", func() error {
		answers, err := c.srv(c.aHost(), "nginx.dummy.skydns.local")
		if err == nil && slices.Contains(answers, nginx.published) {
			err = fmt.Errorf("dig says %v", answers)
		}
		return err
	})
	answers, err := c.srv(c.aHost(), "bystander.dummy.skydns.local")
	if err != nil || len(answers) != 3 {
		c.t.Errorf("bystander: dig says %v, err %v", answers, err)
	}
	resume()
	c.calm(20 * time.Second)
	c.crawls(5*time.Second, "after Docker answers again")
	c.untouched(before, "nginx")
}

// survivesDockerKill: containers live on without dockerd, and the conductor finds it again.
func (c *cluster) survivesDockerKill(host int) {
	before, ctx := c.instances(""), c.t.Context()
	if err := c.hosts.Host(host).KillDocker(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.aside = host
	pause(5 * time.Second)
	if len(c.instances("crawler")) == 1 { // not on this host, whose Docker has its log
		c.crawls(5*time.Second, "without dockerd")
	}
	if err := c.hosts.Host(host).StartDocker(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.aside = 0
	c.untouched(before)
	c.calm(15 * time.Second)
	c.put(1, "late", fmt.Sprintf(idle, 6))
	c.healthy(10*time.Second, "late", 6)
	c.eventually(time.Second, "the conductor uses dockerd again", func() error {
		if len(c.instancesOn(host, "late")) == 0 {
			return errors.New("none of 6 new containers is on the host")
		}
		return nil
	})
	c.remove(1, "late")
	c.gone(30*time.Second, "late")
	c.untouched(before)
}

// survivesDockerWithoutLiveRestore: where containers end with their Engine, they come back with it.
func (c *cluster) survivesDockerWithoutLiveRestore(host int) {
	c.settledWeb(3)
	ctx := c.t.Context()
	options := vhost.Options{Name: c.name, Dir: c.hosts.Dir(), NoLiveRestore: true}
	bare, err := vhost.New(options)
	if err != nil {
		c.t.Fatal(err)
	}
	c.reboot(bare.Host(host))
	defer c.reboot(c.hosts.Host(host))
	others, here := without(c.instances(""), host), c.instancesOn(host, "")
	if err := c.hosts.Host(host).KillDocker(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.aside = host
	pause(3 * time.Second)
	if err := c.hosts.Host(host).StartDocker(ctx); err != nil {
		c.t.Fatal(err)
	}
	c.aside = 0
	c.calm(20 * time.Second)
	for _, i := range here {
		if !slices.ContainsFunc(c.instancesOn(host, ""), func(now instance) bool { return now.id == i.id }) {
			c.t.Errorf("%+v did not come back; there is %+v", i, c.instancesOn(host, ""))
		}
	}
	c.untouched(without(others, host), c.names(here)...)
}

// names are those of the containers that instances are of.
func (c *cluster) names(all []instance) (names []string) {
	for _, i := range all {
		names = append(names, i.of)
	}
	return names
}

// reboot powers a host off and on again, and waits until all is as it should be.
func (c *cluster) reboot(host *vhost.Host) {
	c.t.Helper()
	ctx := context.Background()
	if err := errors.Join(host.PowerOff(ctx), host.PowerOn(ctx)); err != nil {
		c.t.Fatal(err)
	}
	c.calm(40 * time.Second)
}

// updatesWhileDockerHangs: an update does not wait for a host whose Docker hangs. What it leaves there
// stops when Docker answers again.
func (c *cluster) updatesWhileDockerHangs(host int, j *journal) {
	resume := func() {}
	c.updatesWithoutHost(host, j, func() error {
		resume = c.hang(host)
		return nil
	})
	resume()
	c.calm(30 * time.Second)
}
