//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// etcdAway is for how long etcd is stopped: longer than any lease.
const etcdAway = 20 * time.Second

// measureReturnOfEtcd is how long it takes from the first manifest that etcd takes after it was
// away until what it asks for runs.
func (c *cluster) measureReturnOfEtcd(ctx context.Context) (all samples, err error) {
	if err := c.put(ctx, "web", web("web", 1)); err != nil {
		return nil, err
	}
	if _, err := c.healthy(ctx, "web", 1); err != nil {
		return nil, err
	}
	for round := range c.Outages {
		if err := c.engine(1).pause(ctx, "etcd", etcdAway); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("late%d", round)
		var start time.Time
		err := until(ctx, polling, func() error {
			start = time.Now()
			return c.put(ctx, name, web(name, 1))
		})
		if err != nil {
			return nil, fmt.Errorf("put after etcd was away: %w", err)
		}
		host, err := c.healthy(ctx, name, 1)
		if err != nil {
			return nil, err
		}
		running, err := c.engine(host).newest(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, running.State.StartedAt.Sub(start))
		if err := c.remove(ctx, name); err != nil {
			return nil, err
		}
	}
	return all, c.remove(ctx, "web")
}

// restartPause is between two kills of a daemon: Docker waits longer before each restart of one
// that did not run for 10 s.
const restartPause = 11 * time.Second

// hurried is a crawler that hardly rests.
const hurried = `{"image": "` + shellImage + `", "links": ["web"], "command": ["/bin/bash", "-c",
	"while true; do curl -sS --max-time 2 http://$SERVICE_WEB_ADDR:$SERVICE_WEB_PORT; sleep 0.05; done"]}`

// measureLinkGaps kills the ambassador of a crawler's host, and is the longest time without a page.
func (c *cluster) measureLinkGaps(ctx context.Context) (all samples, err error) {
	if err := c.put(ctx, "web", web("web", 1)); err != nil {
		return nil, err
	}
	if err := c.put(ctx, "crawler", hurried); err != nil {
		return nil, err
	}
	host, err := c.healthy(ctx, "crawler", 1)
	if err != nil {
		return nil, err
	}
	for range c.Outages {
		if err := wait(ctx, restartPause); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := c.engine(host).kill(ctx, "ambassador"); err != nil {
			return nil, err
		}
		if err := wait(ctx, 10*time.Second); err != nil {
			return nil, err
		}
		gap, err := c.longestGap(ctx, host, start)
		if err != nil {
			return nil, err
		}
		all = append(all, gap)
	}
	return all, c.remove(ctx, "crawler", "web")
}

// longestGap is the longest time between two pages in the crawler's log since a moment.
func (c *cluster) longestGap(ctx context.Context, host int, since time.Time) (longest time.Duration, err error) {
	crawler, err := c.engine(host).newest(ctx, "crawler")
	if err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, "docker", "-H", "unix://"+c.engine(host).socket, "logs", "--timestamps",
		"--since", since.UTC().Format(time.RFC3339Nano), crawler.ID).Output()
	if err != nil {
		return 0, fmt.Errorf("read the crawler's log: %w", err)
	}
	last, pages := since, 0
	for line := range strings.Lines(string(out)) {
		stamp, text, _ := strings.Cut(line, " ")
		if !strings.Contains(text, "This page was served by") {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			return 0, fmt.Errorf("read the crawler's log: %w", err)
		}
		longest, last, pages = max(longest, at.Sub(last)), at, pages+1
	}
	if end := time.Since(last); pages == 0 || end > 3*time.Second {
		return 0, fmt.Errorf("the crawler saw %d pages, none for %s", pages, end)
	}
	return longest, nil
}
