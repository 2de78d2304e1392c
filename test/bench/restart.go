//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// settling is how long containers run before they are killed.
const settling = 2 * time.Second

// measureRestarts kills a container of the cluster and one that Docker alone restarts, in turn.
// They are new each time: both restart later what ends again and again.
func (c *cluster) measureRestarts(ctx context.Context) (cluster, docker samples, err error) {
	for range c.Rounds {
		byCluster, byDocker, err := c.measureRestart(ctx)
		if err != nil {
			return nil, nil, err
		}
		cluster, docker = append(cluster, byCluster), append(docker, byDocker)
	}
	return cluster, docker, nil
}

func (c *cluster) measureRestart(ctx context.Context) (byCluster, byDocker time.Duration, err error) {
	const port = 18100
	if err := c.put(ctx, "web", web("web", 1)); err != nil {
		return 0, 0, err
	}
	host, err := c.healthy(ctx, "web", 1)
	if err != nil {
		return 0, 0, err
	}
	e := c.engine(host)
	if err := e.runByCLI(ctx, "bare", webImage, c.ip(host), port, "--restart", "always"); err != nil {
		return 0, 0, err
	}
	if err := wait(ctx, settling); err != nil {
		return 0, 0, err
	}
	web, err := e.newest(ctx, "web")
	if err != nil {
		return 0, 0, err
	}
	byCluster, err = c.restart(ctx, e, web.ID, func() error { return c.servesByName(ctx, 1, "web") })
	if err != nil {
		return 0, 0, fmt.Errorf("restart by the cluster: %w", err)
	}
	byDocker, err = c.restart(ctx, e, "bare", func() error { return c.serves(ctx, fmt.Sprintf("%s:%d", c.ip(host), port)) })
	if err != nil {
		return 0, 0, fmt.Errorf("restart by Docker: %w", err)
	}
	if err := e.remove(ctx, "bare"); err != nil {
		return 0, 0, err
	}
	return byCluster, byDocker, c.remove(ctx, "web")
}

// restart is how long it takes from a container's death until it serves again.
func (c *cluster) restart(ctx context.Context, e engine, id string, serves func() error) (time.Duration, error) {
	start := time.Now()
	if err := e.kill(ctx, id); err != nil {
		return 0, err
	}
	if err := serves(); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}
