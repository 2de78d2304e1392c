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

// hostWith is a host with the role, of three or more hosts, and with no other role.
func (c *cluster) hostWith(ctx context.Context, r role) (host int, err error) {
	schedules, leads, err := c.apart(ctx)
	if err != nil {
		return 0, err
	}
	switch r {
	case scheduler:
		return schedules, nil
	case leader:
		return leads, nil
	}
	for host = 1; host == schedules || host == leads; {
		host++
	}
	return host, nil
}

// apart has another host schedule than the one whose etcd member leads: it takes the lease while
// the conductor there is away, for too short to count as lost.
func (c *cluster) apart(ctx context.Context) (schedules, leads int, err error) {
	err = until(ctx, time.Second, func() (err error) {
		if schedules, err = c.schedulerHost(ctx); err != nil {
			return err
		}
		if leads, err = c.leaderHost(ctx); err != nil || schedules != leads {
			return err
		}
		return errors.Join(fmt.Errorf("host %d schedules and leads", leads), c.engine(leads).pause(ctx, "conductor", 5*time.Second))
	})
	return schedules, leads, err
}

func (c *cluster) schedulerHost(ctx context.Context) (host int, err error) {
	n, err := c.ask(ctx, 1, http.MethodGet, state.SchedulerKey, "")
	if err != nil {
		return 0, err
	}
	ip, _, _ := strings.Cut(n.Value, " ")
	for host = 1; host <= c.hostCount; host++ {
		if c.ip(host) == ip {
			return host, nil
		}
	}
	return 0, errors.New("no host schedules")
}

func (c *cluster) leaderHost(ctx context.Context) (host int, err error) {
	err = until(ctx, 100*time.Millisecond, func() error {
		for host = 1; host <= c.hostCount; host++ {
			out, err := fetch(ctx, c.http, "http://"+c.ip(host)+":2379/v2/stats/self")
			if err == nil && strings.Contains(out, `"state":"StateLeader"`) {
				return nil
			}
		}
		return errors.New("no etcd member leads")
	})
	return host, err
}
