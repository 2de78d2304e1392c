//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// role is what a host is to the cluster.
type role string

const (
	plain     role = "neither the scheduler's nor the etcd leader's"
	scheduler role = "the scheduler's"
	leader    role = "the etcd leader's"
)

// hostWith is a host with the role. On two hosts the first has the only etcd member and must not
// be lost: there the scheduler is brought to the second, or away from it.
func (c *cluster) hostWith(ctx context.Context, r role) (host int, err error) {
	const second = 2
	switch r {
	case scheduler:
		return second, c.scheduleOn(ctx, second)
	case leader:
		return c.leaderHost(ctx)
	}
	return second, c.scheduleOn(ctx, 1)
}

// scheduleOn brings the scheduler to a host: another takes its lease while its conductor is away,
// for too short to count as lost.
func (c *cluster) scheduleOn(ctx context.Context, host int) error {
	return until(ctx, time.Second, func() error {
		at, err := c.schedulerHost(ctx)
		if err != nil || at == host {
			return err
		}
		if err := c.engine(at).pause(ctx, "conductor", 5*time.Second); err != nil {
			return err
		}
		return fmt.Errorf("host %d schedules", at)
	})
}

func (c *cluster) schedulerHost(ctx context.Context) (host int, err error) {
	n, err := c.ask(ctx, 1, http.MethodGet, state.SchedulerKey, "")
	if err != nil {
		return 0, err
	}
	ip, _, _ := strings.Cut(n.Value, " ")
	for host = 1; host <= c.scale; host++ {
		if c.ip(host) == ip {
			return host, nil
		}
	}
	return 0, errors.New("no host schedules")
}

func (c *cluster) leaderHost(ctx context.Context) (host int, err error) {
	err = until(ctx, 100*time.Millisecond, func() error {
		for host = 1; host <= c.scale; host++ {
			out, err := c.fetch(ctx, "http://"+c.ip(host)+":2379/v2/stats/self")
			if err == nil && strings.Contains(out, `"state":"StateLeader"`) {
				return nil
			}
		}
		return errors.New("no etcd member leads")
	})
	return host, err
}
