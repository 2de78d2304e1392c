//go:build faults

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// smallDisk is how large the disk of the host is whose disk fills up.
const smallDisk = "3g"

// dockerData is where a host's Docker keeps its data, and thus the host's disk.
func (c *cluster) dockerData(host int) string {
	return filepath.Join(c.hosts.Dir(), fmt.Sprint(host), "data")
}

// giveSmallDisk puts the data of a host that was not made yet on a small file system. It goes with
// the cluster.
func (c *cluster) giveSmallDisk(host int) {
	c.t.Helper()
	data := c.dockerData(host)
	if err := os.MkdirAll(data, 0o711); err != nil {
		c.t.Fatal(err)
	}
	image := filepath.Join(c.hosts.Dir(), fmt.Sprint(host), "disk")
	c.run("truncate", "-s", smallDisk, image)
	c.run("mkfs.ext4", "-q", "-m", "0", image)
	c.run("mount", "-o", "loop", image, data)
}

// fill takes room on a host's disk until only so much of it is left. Hardly a byte of it is written.
func (c *cluster) fill(host int, left uint64) {
	c.t.Helper()
	var stat syscall.Statfs_t
	if err := syscall.Statfs(c.dockerData(host), &stat); err != nil {
		c.t.Fatal(err)
	}
	free, filler := stat.Bavail*uint64(stat.Bsize), filepath.Join(c.dockerData(host), fmt.Sprintf("filler-%d", left))
	c.run("fallocate", "-l", fmt.Sprint(free-max(left, 8<<20)), filler)
	if left == 0 {
		_, _ = c.try("dd", "if=/dev/zero", "of="+filler+"-rest", "bs=4k", "conv=fsync") // until it fails
	}
}

func (c *cluster) empty(host int) error {
	fillers, err := filepath.Glob(filepath.Join(c.dockerData(host), "filler-*"))
	for _, filler := range fillers {
		if err == nil {
			err = os.Remove(filler)
		}
	}
	return err
}

// survivesFullDisk: a host whose disk is nearly full says so and takes nothing new, and what runs
// there runs on, also when not a byte is left.
func (c *cluster) survivesFullDisk(host int) {
	c.settledWeb(3)
	before := c.instances("")
	if !slices.ContainsFunc(before, func(i instance) bool { return i.host == host && i.of == "web" }) {
		c.t.Fatalf("web is not on host %d: %+v", host, before)
	}
	if err := c.says(host, "disk is full: "); err == nil {
		c.t.Error("the host says that its disk is full before it is")
	}
	c.fill(host, 300<<20)
	c.eventually(15*time.Second, "the host says that its disk is full", func() error {
		return c.says(host, "disk is full: ")
	})
	c.put(1, "late", fmt.Sprintf(idle, 4))
	c.healthy(15*time.Second, "late", 4)
	if all := c.instancesOn(host, "late"); len(all) > 0 {
		c.t.Errorf("the host whose disk is full was given %+v", all)
	}
	c.untouched(before, "late")

	c.fill(host, 0)
	pause(20 * time.Second)
	c.untouched(before, "late")
	if err := c.says(host, "disk is full: "); err != nil {
		c.t.Errorf("with not a byte left: %v", err)
	}

	if err := c.empty(host); err != nil {
		c.t.Fatal(err)
	}
	c.eventually(15*time.Second, "the host says no more that its disk is full", func() error {
		if err := c.says(host, "disk is full: "); err == nil {
			return fmt.Errorf("it does")
		}
		return nil
	})
	c.remove(1, "late")
	c.gone(30*time.Second, "late")
	c.calm(60 * time.Second) // etcd's member there may have ended
	c.untouched(before)

	// Docker cannot read on in a log of which it could not write a line whole.
	c.remove(1, "crawler")
	c.gone(30*time.Second, "crawler")
	c.put(1, "crawler", c.manifest("crawler"))
	c.healthy(15*time.Second, "crawler", 1)
}

// says tells whether the status has something about a host.
func (c *cluster) says(host int, what string) error {
	out := c.dokkaacfg("status")
	for line := range strings.Lines(out) {
		if strings.Contains(line, c.ip(host)+" ") && strings.Contains(line, what) {
			return nil
		}
	}
	return fmt.Errorf("status:\n%s", out)
}
