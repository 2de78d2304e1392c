//go:build linux

package vhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot  = "/sys/fs/cgroup"
	killTimeout = 20 * time.Second
)

// cgroup is a control group, as a path below the root of each hierarchy. All processes of a
// host, its engine and its containers alike, are in or below the host's: that is how they are
// found and ended together, though the process that started them is long gone.
type cgroup string

// rootCgroup is above all clusters.
const rootCgroup cgroup = "/dokkaa"

func (c *Cluster) cgroup() cgroup { return rootCgroup + cgroup("/"+c.name) }

// unified tells whether the machine has version 2 of control groups only.
func unified() bool {
	var stat unix.Statfs_t
	return unix.Statfs(cgroupRoot, &stat) == nil && stat.Type == unix.CGROUP2_SUPER_MAGIC
}

// dir is the group's directory in the hierarchy that tells which processes it has. With version
// 1, any of the hierarchies that Docker uses would do; pids is one that nobody configures.
func (g cgroup) dir() string {
	if unified() {
		return filepath.Join(cgroupRoot, string(g))
	}
	return filepath.Join(cgroupRoot, "pids", string(g))
}

// make makes the group and returns the file that takes the processes to put into it.
func (g cgroup) make() (procs string, err error) {
	err = os.MkdirAll(g.dir(), 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		// Another cluster that went down just then removed the root that both share.
		err = os.MkdirAll(g.dir(), 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("make control group: %w", err)
	}
	return filepath.Join(g.dir(), "cgroup.procs"), nil
}

// pids are the processes in the group and below.
func (g cgroup) pids() ([]int, error) {
	var pids []int
	err := filepath.WalkDir(g.dir(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return ignoreGone(err)
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return ignoreGone(err)
		}
		for _, field := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
			pids = append(pids, pid)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	return pids, nil
}

// kill ends all processes in the group and below, and removes the group. No group is no error.
func (g cgroup) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	var last error
	err := wait(ctx, 20*time.Millisecond, func() (bool, error) {
		pids, err := g.pids()
		if err != nil {
			return false, err
		}
		if len(pids) == 0 {
			last = g.remove()
			return last == nil, nil
		}
		last = fmt.Errorf("%d processes are left", len(pids))
		return false, g.killNow(pids)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("end control group %s: %w", g, last)
	}
	return err
}

// killNow kills all processes in the group, of which pids were seen: at one stroke where the
// kernel can, which is from Linux 5.14 with version 2 of control groups.
func (g cgroup) killNow(pids []int) error {
	if unified() && os.WriteFile(filepath.Join(g.dir(), "cgroup.kill"), []byte("1"), 0) == nil {
		return nil
	}
	return signal(pids, syscall.SIGKILL)
}

// signal sends sig to the processes. Those that have ended are no error.
func signal(pids []int, sig syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("send %s to process %d: %w", sig, pid, err)
		}
	}
	return nil
}

// dirs are the group's directories in all hierarchies.
func (g cgroup) dirs() []string {
	var dirs []string
	for _, pattern := range []string{cgroupRoot, cgroupRoot + "/*"} {
		// The only error is a bad pattern.
		found, _ := filepath.Glob(pattern + string(g))
		dirs = append(dirs, found...)
	}
	return dirs
}

// remove removes the empty group and the groups below.
func (g cgroup) remove() error {
	for _, dir := range g.dirs() {
		var below []string
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				below = append(below, path)
			}
			return ignoreGone(err)
		})
		if err != nil {
			return fmt.Errorf("remove control group: %w", err)
		}
		slices.Reverse(below) // a directory comes before what is in it
		for _, path := range below {
			if err := syscall.Rmdir(path); err != nil && !errors.Is(err, syscall.ENOENT) {
				return fmt.Errorf("remove control group %s: %w", path, err)
			}
		}
	}
	return nil
}

// removeIfUnused removes the group where nothing is in it.
func (g cgroup) removeIfUnused() {
	for _, dir := range g.dirs() {
		// Fails, as it should, while there is another cluster.
		_ = syscall.Rmdir(dir)
	}
}

// ignoreGone drops the errors that mean that a group or process ended meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	return err
}
