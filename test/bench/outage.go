//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// measureHostLoss powers off the host that the web server is on, which has the given role, and
// is how long it takes until a server on another host serves.
func (c *cluster) measureHostLoss(ctx context.Context, r role) (all samples, err error) {
	for range c.Outages {
		lost, err := c.hostWith(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := c.placeWeb(ctx, lost); err != nil {
			return nil, err
		}
		if now, err := c.hostWith(ctx, r); err != nil || now != lost {
			return nil, fmt.Errorf("host %d was %s, now %d is, err %w", lost, r, now, err)
		}
		took, err := c.loseHost(ctx, lost)
		if err != nil {
			return nil, fmt.Errorf("lose host %d, %s: %w", lost, r, err)
		}
		all = append(all, took)
		if err := c.remove(ctx, append(c.weights(), "web")...); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (c *cluster) loseHost(ctx context.Context, lost int) (took time.Duration, err error) {
	start := time.Now()
	if err := c.hosts.Host(lost).PowerOff(ctx); err != nil {
		return 0, err
	}
	if err := c.servesByName(ctx, lost%c.hostCount+1, "web"); err != nil {
		return 0, err
	}
	took = time.Since(start)
	return took, errors.Join(c.hosts.Host(lost).PowerOn(ctx), c.back(lost)(ctx))
}

// back waits until a host that was lost takes part again.
func (c *cluster) back(lost int) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		return until(ctx, 100*time.Millisecond, func() error {
			lease, err := c.ask(ctx, 1, http.MethodGet, state.HostLeaseKey(c.ip(lost)), "")
			if err == nil && lease.Value == "" {
				err = errors.New("the host is not back")
			}
			return err
		})
	}
}

// weights are the names of containers that are there to be somewhere, one for each host.
func (c *cluster) weights() (names []string) {
	for n := range c.hostCount {
		names = append(names, fmt.Sprintf("weight%d", n))
	}
	return names
}

// placeWeb has the web server run on the given host of an empty cluster: the scheduler takes the
// emptiest, so each gets a weight first, and that one loses it again.
func (c *cluster) placeWeb(ctx context.Context, host int) error {
	var surplus string
	for _, name := range c.weights() {
		if err := c.put(ctx, name, `{"image": "`+shellImage+`", "command": ["sleep", "100000"]}`); err != nil {
			return err
		}
		at, err := c.healthy(ctx, name, 1)
		if err != nil {
			return err
		}
		if at == host {
			surplus = name
		}
	}
	if err := c.remove(ctx, surplus); err != nil {
		return err
	}
	if err := c.put(ctx, "web", web("web", 1)); err != nil {
		return err
	}
	if at, err := c.healthy(ctx, "web", 1); err != nil || at != host {
		return fmt.Errorf("the web server is on host %d, not %d, err %w", at, host, err)
	}
	return c.servesByName(ctx, host%c.hostCount+1, "web")
}
