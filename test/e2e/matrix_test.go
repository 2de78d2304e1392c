//go:build faults

package e2e

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	bystander = `{"image": "dockerfile/nginx", "mode": "global", "services": {"bystander": 80}}`
	idle      = `{` + hurry + `, "image": "dockerfile/ubuntu", "scale": %d, "command": ["sleep", "100000"]}`
)

// TestFaults is the fault matrix: everything that may break, on three hosts with an etcd member
// each, at full length. After each row all is as it was, but for what the row says.
func TestFaults(t *testing.T) {
	c := newCluster(t, "e2efaults", "10.115.0.0/24", 3)
	c.giveSmallDisk(c.scale)
	c.up()
	c.put(1, "bystander", bystander)
	c.put(1, "nginx", c.manifest("nginx"))
	c.put(1, "crawler", c.manifest("crawler"))
	c.calm(20 * time.Second)

	for _, r := range []role{scheduler, leader, neither} {
		row(t, c, "host lost/"+string(r), func(c *cluster) { c.survivesHostLoss(c.nginxOn(r)) })
	}
	for host := 1; host <= c.scale; host++ {
		row(t, c, fmt.Sprintf("host lost/%d", host), func(c *cluster) { c.nginxOnHost(host); c.survivesHostLoss(host) })
	}
	row(t, c, "host lost/with a volume", func(c *cluster) { c.keepsVolume(c.hostWith(neither)) })
	row(t, c, "all hosts lost", (*cluster).survivesPowerCut)
	row(t, c, "all hosts lost/at work", (*cluster).survivesPowerCutAtWork)
	for _, r := range []role{scheduler, neither} {
		row(t, c, "link down for 4 s/"+string(r), func(c *cluster) { c.survivesUnpluggedLink(c.nginxOn(r)) })
	}
	row(t, c, "host cut off/from etcd members", (*cluster).survivesLossOfMembers)
	for _, r := range []role{scheduler, leader, neither} {
		row(t, c, "host cut off/from all others/"+string(r), func(c *cluster) { c.survivesPartition(c.nginxOn(r)) })
	}

	row(t, c, "docker hangs", (*cluster).survivesHangingDocker)
	row(t, c, "docker hangs/and a container dies", (*cluster).withdrawsWhileDockerHangs)
	for host := 1; host <= c.scale; host++ {
		row(t, c, fmt.Sprintf("dockerd killed/host %d", host), func(c *cluster) { c.survivesDockerKill(host) })
	}

	row(t, c, "etcd down for 60 s", func(c *cluster) { c.survivesEtcdAway(60 * time.Second) })
	row(t, c, "etcd member stopped/follower", func(c *cluster) { c.survivesStoppedMember(c.leaderHost()%c.scale + 1) })
	row(t, c, "etcd member stopped/leader", func(c *cluster) { c.survivesStoppedMember(c.leaderHost()) })
	row(t, c, "etcd leader killed every 10 s", (*cluster).survivesDyingLeaders)

	row(t, c, "conductor stopped for 5 s", (*cluster).survivesShortPause)
	for _, r := range []role{scheduler, neither} {
		row(t, c, "conductor stopped for 30 s/"+string(r), func(c *cluster) { c.survivesLongPause(c.nginxOn(r)) })
	}
	row(t, c, "conductor killed during changes", (*cluster).survivesKillsDuringChanges)
	row(t, c, "100 PUTs in a row", (*cluster).endsAtTheLastManifest)

	row(t, c, "etcd wiped", (*cluster).survivesWipedEtcd)
	row(t, c, "etcd wiped/and written anew", (*cluster).startsAnewOnWipedEtcd)

	t.Run("under load", func(t *testing.T) {
		c.t = t
		c.web(3, "")
		c.healthy(20*time.Second, "web", 3)
		c.loader()
		underLoadRows(t, c)
		c.t = t
		c.remove(1, "loader")
		c.remove(1, "web")
		c.gone(30*time.Second, "loader")
		c.gone(30*time.Second, "web")
	})
}

// underLoadRows are those in which others use a container all the time, and no request may fail. Who
// asks is on host 1.
func underLoadRows(t *testing.T, c *cluster) {
	t.Helper()
	for _, s := range stages {
		loadedRow(t, c, "conductor killed in an update/"+string(s), func(c *cluster, j *journal) { c.killsConductorsAt(s, j) })
	}
	loadedRow(t, c, "scheduler killed every 5 s/in an update", (*cluster).survivesDyingSchedulers)
	loadedRow(t, c, "scheduler killed every 5 s/in an update to a bad image", func(c *cluster, _ *journal) {
		c.failsWithDyingSchedulers(`"image": "test/there-is-no-such-image",`, "there-is-no-such-image")
	})
	loadedRow(t, c, "scheduler killed every 5 s/in an update that never gets healthy", func(c *cluster, _ *journal) {
		c.failsWithDyingSchedulers(`"command": ["sleep", "1000"],`, "healthy within")
	})
	loadedRow(t, c, "host cut off in an update/from etcd", func(c *cluster, j *journal) { c.updatesWithHostCutOff(c.victim(), j, c.closeEtcd) })
	loadedRow(t, c, "host cut off in an update/from all others", func(c *cluster, j *journal) { c.updatesWithHostCutOff(c.victim(), j, c.cutOff) })
	loadedRow(t, c, "host cut off in an update/from all but etcd", func(c *cluster, j *journal) { c.updatesWithoutTraffic(c.victim(), j) })
	loadedRow(t, c, "docker hangs in an update", func(c *cluster, j *journal) { c.updatesWhileDockerHangs(c.victim(), j) })
	loadedRow(t, c, "dockerd killed without live-restore", func(c *cluster, _ *journal) { c.survivesDockerWithoutLiveRestore(c.victim()) })
	loadedRow(t, c, "disk full", func(c *cluster, _ *journal) { c.survivesFullDisk(c.scale) })
	loadedRow(t, c, "CPU saturated", func(c *cluster, j *journal) { c.survivesBusyHost(c.victim(), j) })
	loadedRow(t, c, "etcd down for 60 leases", func(c *cluster, _ *journal) { c.survivesLongOutage() })
}

// row runs a row of the matrix, and afterwards mends what a failed one left broken. Rows do not
// build on each other.
func row(t *testing.T, c *cluster, name string, run func(*cluster)) {
	t.Helper()
	journaledRow(t, c, name, func(c *cluster, _ *journal) { run(c) })
}

// loadedRow is a row during which no request may fail.
func loadedRow(t *testing.T, c *cluster, name string, run func(*cluster, *journal)) {
	t.Helper()
	journaledRow(t, c, name, func(c *cluster, j *journal) {
		c.loaded(func() {
			run(c, j)
			c.calm(20 * time.Second)
		})
	})
}

func journaledRow(t *testing.T, c *cluster, name string, run func(*cluster, *journal)) {
	t.Helper()
	passed := t.Run(name, func(t *testing.T) {
		c.t = t
		start := time.Now()
		j := c.follow()
		t.Cleanup(func() {
			if t.Failed() {
				j.show()
				c.dump()
			}
		})
		run(c, j)
		c.calm(20 * time.Second)
		c.crawls(5*time.Second, "after all")
		j.finish()
		t.Logf("the row took %s", time.Since(start).Round(time.Second))
	})
	if c.t = t; !passed {
		c.mend()
	}
}

// mend ends every fault there may be.
func (c *cluster) mend() {
	c.aside = 0
	ctx := c.t.Context()
	var errs []error
	for n := 1; n <= c.scale; n++ {
		host := c.hosts.Host(n)
		errs = append(errs, host.ResumeDocker(), host.PowerOn(ctx), host.LinkUp(ctx), host.Heal(ctx), c.openPorts(n), c.empty(n))
		_, _ = c.docker(n, "rm", "-f", burner) // there is none, mostly
		for _, daemon := range []string{"etcd", "conductor"} {
			_, err := c.docker(n, "start", daemon)
			errs = append(errs, err, c.signal(n, daemon, syscall.SIGCONT))
		}
	}
	if err := errors.Join(errs...); err != nil {
		c.t.Fatalf("mend: %v", err)
	}
	if _, err := os.Stat(c.backup(1)); err == nil {
		c.each(func(host int) error { return c.stopEtcd(host, c.restore) })
	}
	for _, name := range []string{"nginx", "crawler"} {
		c.put(1, name, c.manifest(name))
	}
	c.calm(60 * time.Second)
}

// each does something to all hosts at once.
func (c *cluster) each(do func(host int) error) {
	c.t.Helper()
	var group errgroup.Group
	for n := 1; n <= c.scale; n++ {
		group.Go(func() error { return do(n) })
	}
	if err := group.Wait(); err != nil {
		c.t.Fatal(err)
	}
}
