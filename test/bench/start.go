//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// starts are how long containers took from the request until they ran, were found and served.
type starts struct{ running, resolvable, serving samples }

// measureStarts starts the same image in turn through the cluster and by the bare Engine of the
// host that the cluster chooses.
func (c *cluster) measureStarts(ctx context.Context) (cluster, cli, api starts, err error) {
	for round := range c.Rounds {
		name := fmt.Sprintf("start%d", round)
		if err := c.startByManifest(ctx, name, &cluster); err != nil {
			return cluster, cli, api, fmt.Errorf("start by manifest: %w", err)
		}
		port := 18000 + round
		if err := c.startBare(ctx, port, &cli, func(name, ip string) error {
			return c.engine(1).runByCLI(ctx, name, webImage, ip, port)
		}); err != nil {
			return cluster, cli, api, fmt.Errorf("start by docker run: %w", err)
		}
		if err := c.startBare(ctx, port, &api, func(name, ip string) error {
			return c.engine(1).runByAPI(ctx, name, webImage, ip, port)
		}); err != nil {
			return cluster, cli, api, fmt.Errorf("start by Docker's API: %w", err)
		}
	}
	return cluster, cli, api, nil
}

func (c *cluster) startByManifest(ctx context.Context, name string, into *starts) error {
	start := time.Now()
	if err := c.put(ctx, name, web(name, 1)); err != nil {
		return err
	}
	var addr string
	err := until(ctx, polling, func() (err error) {
		addr, err = c.resolve(ctx, 1, name)
		return err
	})
	if err != nil {
		return err
	}
	resolvable := time.Since(start)
	if err := c.serves(ctx, addr); err != nil {
		return err
	}
	serving := time.Since(start)
	host, err := c.healthy(ctx, name, 1)
	if err != nil {
		return err
	}
	running, err := c.engine(host).newest(ctx, name)
	if err != nil {
		return err
	}
	into.running = append(into.running, running.State.StartedAt.Sub(start))
	into.resolvable = append(into.resolvable, resolvable)
	into.serving = append(into.serving, serving)
	return c.remove(ctx, name)
}

func (c *cluster) startBare(ctx context.Context, port int, into *starts, run func(name, ip string) error) error {
	const name = "bare"
	start := time.Now()
	if err := run(name, c.ip(1)); err != nil {
		return err
	}
	if err := c.serves(ctx, fmt.Sprintf("%s:%d", c.ip(1), port)); err != nil {
		return err
	}
	serving := time.Since(start)
	running, err := c.engine(1).inspect(ctx, name)
	if err != nil {
		return err
	}
	into.running = append(into.running, running.State.StartedAt.Sub(start))
	into.serving = append(into.serving, serving)
	return c.engine(1).remove(ctx, name)
}
