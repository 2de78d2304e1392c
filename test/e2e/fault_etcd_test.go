//go:build faults

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// survivesStoppedMember: the host's etcd member does not answer for 30 s.
func (c *cluster) survivesStoppedMember(host int) {
	before := c.instances("")
	goOn := c.stop(host, "etcd")
	start := time.Now()
	c.crawls(5*time.Second, "with a stopped member")
	c.put(host%c.scale+1, "late", fmt.Sprintf(idle, 3))
	c.eventually(15*time.Second, "the PUT is acted on", func() error {
		if all := c.instances("late"); len(all) != 3 {
			return fmt.Errorf("late runs as %+v", all)
		}
		return nil
	})
	pause(30*time.Second - time.Since(start))
	c.crawls(5*time.Second, "30 s later")
	c.untouched(before, "late")
	goOn()
	c.remove(host, "late")
	c.gone(20*time.Second, "late")
	c.calm(15 * time.Second)
	c.untouched(before)
}

// survivesDyingLeaders kills etcd's leader again and again.
func (c *cluster) survivesDyingLeaders() {
	before := c.instances("")
	for range 6 {
		start, leader := time.Now(), c.leaderHost()
		c.kill(leader, "etcd")
		c.crawls(5*time.Second, fmt.Sprintf("after the leader on host %d was killed", leader))
		pause(10*time.Second - time.Since(start))
	}
	c.untouched(before)
	c.nginx(2)
	c.eventually(10*time.Second, "the PUT is acted on", func() error {
		if all := c.instances("nginx"); len(all) != 2 {
			return fmt.Errorf("nginx runs as %+v", all)
		}
		return nil
	})
	c.nginx(1)
	c.calm(30 * time.Second)
	c.untouched(before)
}

// survivesLongOutage stops all of etcd for many times the hosts' lease. The lease is shortened for
// that; both times have the ratio of ten minutes to a lease of ten seconds.
func (c *cluster) survivesLongOutage() {
	const lease, times = 3 * time.Second, 60
	c.dokkaacfg("settings", "host_lease="+lease.String(), "host_lease_renew=1s")
	defer c.dokkaacfg("settings", "host_lease=", "host_lease_renew=")
	pause(15 * time.Second) // conductors read settings every ten
	c.settledWeb(3)
	before := c.instances("")
	c.each(func(host int) error {
		_, err := c.docker(host, "stop", "-t", "0", "etcd")
		return err
	})
	for start := time.Now(); time.Since(start) < times*lease; {
		pause(20 * time.Second)
		c.untouched(before)
	}
	c.each(func(host int) error {
		_, err := c.docker(host, "start", "etcd")
		return err
	})
	c.calm(15 * time.Second)
	c.untouched(before)
	c.updated(15*time.Second, 3, c.update(3))
	c.calm(15 * time.Second)
	c.untouched(without(before, 0, "web"), "web")
}

// survivesWipedEtcd: etcd comes back empty on all hosts. Nothing is removed, and the conductors
// say why. With its data restored everything goes on with the same containers.
func (c *cluster) survivesWipedEtcd() {
	before, since := c.instances(""), time.Now()
	c.each(func(host int) error { return c.stopEtcd(host, c.wipe) })
	pause(20 * time.Second) // longer than any lease
	c.staysOnWipedEtcd(before, since)
	c.each(func(host int) error { return c.stopEtcd(host, c.restore) })
	c.calm(20 * time.Second)
	c.untouched(before)
}

// startsAnewOnWipedEtcd does what docs/operations.md says for an etcd whose data is lost: the
// manifests are written again, and then the cluster's id.
func (c *cluster) startsAnewOnWipedEtcd() {
	before, since := c.instances(""), time.Now()
	id := c.mustDocker(before[0].host, "inspect", "-f", `{{index .Config.Labels "dokkaa.cluster"}}`, before[0].id)
	c.each(func(host int) error { return c.stopEtcd(host, c.wipe) })
	c.each(func(host int) error { return os.RemoveAll(c.backup(host)) })
	c.staysOnWipedEtcd(before, since)
	c.put(1, "bystander", bystander)
	c.put(1, "nginx", c.manifest("nginx"))
	c.put(1, "crawler", c.manifest("crawler"))
	c.run("curl", "-sS", "-XPUT", "-d", "value="+id, c.key(1, "/dokkaa/cluster"))
	c.calm(60 * time.Second)
	c.crawls(10*time.Second, "after all was written anew")
}

// staysOnWipedEtcd: conductors say in the status and in their logs why they do nothing.
func (c *cluster) staysOnWipedEtcd(before []instance, since time.Time) {
	for host := 1; host <= c.scale; host++ {
		c.eventually(20*time.Second, fmt.Sprintf("the conductor of host %d says why it does nothing", host), func() error {
			log, err := c.daemonLog(host, "conductor", since)
			if err == nil && !strings.Contains(log, "etcd is not that of this cluster") {
				err = fmt.Errorf("its log: %s", log)
			}
			return err
		})
	}
	c.eventually(20*time.Second, "the status says why nothing is done", func() error {
		status := c.dokkaacfg("status")
		if strings.Count(status, "etcd is another cluster's") != c.scale {
			return errors.New(status)
		}
		return nil
	})
	c.untouched(before)
	c.crawls(5*time.Second, "with etcd wiped")
}

// stopEtcd does something to etcd's data on a host while etcd is down.
func (c *cluster) stopEtcd(host int, meanwhile func(host int, data string) error) error {
	if _, err := c.docker(host, "stop", "-t", "0", "etcd"); err != nil {
		return err
	}
	data, err := c.docker(host, "volume", "inspect", "-f", "{{.Mountpoint}}", "dokkaa-etcd")
	if err != nil {
		return err
	}
	if err := meanwhile(host, strings.TrimSpace(data)); err != nil {
		return err
	}
	_, err = c.docker(host, "start", "etcd")
	return err
}

// backup is where wipe puts the data.
func (c *cluster) backup(host int) string {
	return filepath.Join(c.dockerData(host), "etcd-backup") // on the same file system
}

func (c *cluster) wipe(host int, data string) error {
	return os.Rename(filepath.Join(data, "member"), c.backup(host))
}

func (c *cluster) restore(host int, data string) error {
	if err := os.RemoveAll(filepath.Join(data, "member")); err != nil {
		return err
	}
	return os.Rename(c.backup(host), filepath.Join(data, "member"))
}

// daemonLog is what a daemon logged since a moment; daemons log on standard error.
func (c *cluster) daemonLog(host int, daemon string, since time.Time) (string, error) {
	return c.try("sh", "-c", `docker -H "$0" logs --since "$1" "$2" 2>&1`,
		c.hosts.Host(host).DockerHost(), since.UTC().Format(time.RFC3339Nano), daemon)
}
