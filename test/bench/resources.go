//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// resting is for how long daemons are watched at rest.
const resting = 30 * time.Second

// clockTicks is the unit of processor times in /proc, the same on every Linux that Go runs on.
const clockTicks = 100

// usage is what a process takes.
type usage struct {
	host     int
	name     string
	rss, pss uint64  // bytes
	cpu      float64 // share of one processor
}

// restingContainers run meanwhile.
const restingContainers = 50

// measureRest watches the daemons of all hosts while containers run and nothing happens.
func (c *cluster) measureRest(ctx context.Context) ([]usage, error) {
	servers := &manifests{cluster: c}
	return settle(ctx, servers, restingContainers, resting, func() ([]usage, error) { return c.watchDaemons(ctx) })
}

func (c *cluster) watchDaemons(ctx context.Context) ([]usage, error) {
	processes := map[int]usage{}
	var order []int
	before := map[int]time.Duration{}
	for host := 1; host <= c.hostCount; host++ {
		for _, name := range []string{"conductor", "dokkaa-firewall", "ambassador", "skydns", "gateway", "etcd"} {
			d, err := c.engine(host).inspect(ctx, name)
			if err != nil && name == "etcd" {
				continue // not every host has a member
			}
			if err != nil {
				return nil, err
			}
			processes[d.State.Pid] = usage{host: host, name: name}
			order = append(order, d.State.Pid)
		}
	}
	for pid := range processes {
		spent, err := processorTime(pid)
		if err != nil {
			return nil, err
		}
		before[pid] = spent
	}
	start := time.Now()
	if err := wait(ctx, resting); err != nil {
		return nil, err
	}
	var all []usage
	for _, pid := range order {
		u := processes[pid]
		spent, err := processorTime(pid)
		if err != nil {
			return nil, err
		}
		u.cpu = (spent - before[pid]).Seconds() / time.Since(start).Seconds()
		if u.rss, err = kilobytes(procFile(pid, "status"), "VmRSS:"); err != nil {
			return nil, err
		}
		if u.pss, err = kilobytes(procFile(pid, "smaps_rollup"), "Pss:"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// processorTime is how long a process has been on a processor.
func processorTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	// The second field is the name in parentheses, which may contain anything.
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("read processor time of process %d: %q", pid, data)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return time.Duration(user+system) * time.Second / clockTicks, nil
}

// kilobytes is a number of kilobytes that a file of /proc has under a name, in bytes.
func kilobytes(file, name string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == name {
			n, err := strconv.ParseUint(fields[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("read memory: %s has no %s", file, name)
}

func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }
