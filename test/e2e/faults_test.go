package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// pause lets a fault last.
func pause(d time.Duration) { time.Sleep(d) }

// kill ends a daemon's process as a crash would; Docker restarts it. It returns when it is back.
func (c *cluster) kill(host int, daemon string) {
	c.t.Helper()
	c.killProcess(host, daemon, c.daemonPid(host, daemon))
}

// daemonPid is the process of a daemon.
func (c *cluster) daemonPid(host int, daemon string) (pid int) {
	c.t.Helper()
	if _, err := fmt.Sscan(c.mustDocker(host, "inspect", "-f", "{{.State.Pid}}", daemon), &pid); err != nil || pid <= 1 {
		c.t.Fatalf("%s on host %d has process %d, err %v", daemon, host, pid, err)
	}
	return pid
}

// killProcess is kill where the daemon's process is known already.
func (c *cluster) killProcess(host int, daemon string, pid int) {
	c.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	c.eventually(10*time.Second, fmt.Sprintf("%s is back on host %d", daemon, host), func() error {
		out, err := c.docker(host, "inspect", "-f", "{{.State.Pid}}", daemon)
		var now int // 0 between two processes
		if _, bad := fmt.Sscan(out, &now); err == nil && (bad != nil || now == 0 || now == pid) {
			err = fmt.Errorf("pid: %s", out)
		}
		return err
	})
}

// survivesDaemons kills every daemon on every host, one after the other: no user container
// restarts, and the crawler goes on.
func (c *cluster) survivesDaemons() {
	before := c.instances("")
	for _, daemon := range []string{"conductor", "skydns", "gateway", "etcd", "dokkaa-firewall", "ambassador"} {
		for host := 1; host <= c.scale; host++ {
			c.kill(host, daemon)
		}
		c.crawls(5*time.Second, "after each "+daemon+" was killed")
		if after := c.instances(""); !slices.Equal(before, after) {
			c.t.Fatalf("%s: before %+v, after %+v", daemon, before, after)
		}
	}
	scheduler := c.schedulerHost()
	c.kill(scheduler, "conductor")
	c.healthy(10*time.Second, "nginx", 1)
	c.nginx(2) // somebody must schedule
	c.healthy(15*time.Second, "nginx", 2)
	c.nginx(1)
	c.healthy(30*time.Second, "nginx", 1)
	if after := c.instances(""); !slices.Equal(before, after) {
		c.t.Errorf("before %+v, after %+v", before, after)
	}
}

// schedulerHost is the number of the host that schedules.
func (c *cluster) schedulerHost() (host int) {
	c.t.Helper()
	c.eventually(10*time.Second, "there is a scheduler", func() error {
		keys, err := c.keys(c.aHost(), "/dokkaa")
		if err != nil {
			return err
		}
		ip, _, _ := strings.Cut(keys["/dokkaa/scheduler"], " ")
		for n := 1; n <= c.scale; n++ {
			if c.ip(n) == strings.TrimSpace(ip) {
				host = n
				return nil
			}
		}
		return fmt.Errorf("scheduler is %q", keys["/dokkaa/scheduler"])
	})
	return host
}

// survivesEtcdAway stops all of etcd for a while: nothing stops, the crawler goes on, and a PUT
// afterwards is acted on.
func (c *cluster) survivesEtcdAway(d time.Duration) {
	before := c.instances("")
	for host := 1; host <= c.scale; host++ {
		c.mustDocker(host, "stop", "-t", "0", "etcd")
	}
	out, err := c.try("curl", "-sS", "-i", c.key(1, "/apps"))
	if err != nil || !strings.Contains(out, "503") {
		c.t.Errorf("the gateway says %s, err %v", out, err)
	}
	pause(d)
	c.crawls(5*time.Second, "with etcd away")
	if after := c.instances(""); !slices.Equal(before, after) {
		c.t.Errorf("before %+v, after %+v", before, after)
	}
	for host := 1; host <= c.scale; host++ {
		c.mustDocker(host, "start", "etcd")
	}
	c.eventually(10*time.Second, "etcd is back", func() error {
		_, err := c.keys(1, "/apps")
		return err
	})
	c.nginx(2)
	c.eventually(5*time.Second, "the PUT is acted on", func() error {
		if all := c.instances("nginx"); len(all) != 2 {
			return fmt.Errorf("nginx runs as %+v", all)
		}
		return nil
	})
	c.nginx(1)
	c.healthy(30*time.Second, "nginx", 1)
	if after := c.instances(""); !slices.Equal(before, after) {
		c.t.Errorf("after etcd came back: before %+v, after %+v", before, after)
	}
}

// crawlsOn is crawls for a host's own crawler.
func (c *cluster) crawlsOn(host int, stated time.Duration, why string) {
	c.t.Helper()
	i := slices.IndexFunc(c.instances("crawler"), func(i instance) bool { return i.host == host })
	if i < 0 {
		c.t.Fatalf("no crawler on host %d", host)
	}
	crawler, since := c.instances("crawler")[i], time.Now()
	c.eventually(stated, "the crawler sees the page, "+why, func() error {
		servers, err := c.pages(crawler, since)
		if err == nil && len(servers) == 0 {
			err = fmt.Errorf("no page since %s", since)
		}
		return err
	})
}
