//go:build linux

package proxies

import (
	"context"
	"fmt"
	"time"
)

// tableResult is the rate of connections with tables of some size.
type tableResult struct {
	Name   string
	Rounds []figures
}

// tables measures what large tables cost: many callers, and many backends of many services.
func (c *contest) tables(ctx context.Context, r *Results) error {
	many := []service{{"kind0.shop.skydns.local", backends(echoes, 0, 100)}}
	for i := range 99 {
		many = append(many, service{fmt.Sprintf("other%d.shop.skydns.local", i), backends(echoes, 100*(i+1), 100)})
	}
	var all []*contender
	for i, t := range []struct {
		name     string
		callers  int
		services []service
	}{
		{"one backend, callers that the load has", callerCount, plainServices()},
		{"52 containers", 52, plainServices()},
		{"1,000 callers, 10,000 backends", 1000, many},
	} {
		w, err := c.world(t.callers, t.services)
		if err != nil {
			return err
		}
		p := ambassador(t.name, c.Binary, byte(16+i), w)
		if err := p.start(ctx, c.dir); err != nil {
			return err
		}
		defer p.stop()
		all = append(all, p)
	}
	l := load{name: "tables", unit: "/s", per: 1, run: func(_ context.Context, c *contender, while time.Duration) (float64, time.Duration, error) {
		return exchangeFor(c.from, c.port(echoes), 16, true, while)
	}}
	rounds, err := c.interleave(ctx, l, all)
	for i, p := range all {
		if err == nil {
			r.Tables = append(r.Tables, tableResult{p.name, rounds[i]})
		}
	}
	return err
}

// idleResult is what connections cost that nothing comes over.
type idleResult struct {
	Name                string
	Opened              int
	Descriptors, Memory float64 // of each
}

const idleConnections = 9500

// idle opens connections to one proxy after the other, each just started.
func (c *contest) idle(ctx context.Context, r *Results) error {
	all, err := c.proxies()
	if err != nil {
		return err
	}
	for _, p := range all {
		result, err := c.idleOf(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Fprintf(c.progress, "idle, %s: %+v\n", p.name, result)
		r.Idle = append(r.Idle, result)
	}
	return nil
}

func (c *contest) idleOf(ctx context.Context, p *contender) (result idleResult, err error) {
	result.Name = p.name
	defer p.stop()
	if err := p.start(ctx, c.dir); err != nil {
		return result, err
	}
	descriptorsBefore, memoryBefore, err := p.holds()
	if err != nil {
		return result, err
	}
	opened, closeAll, err := openIdle(p.port(echoes), idleConnections)
	if err != nil {
		return result, err
	}
	defer closeAll()
	result.Opened = opened
	descriptors, memory, err := p.holds()
	result.Descriptors = float64(descriptors-descriptorsBefore) / float64(opened)
	result.Memory = float64(memory-memoryBefore) / float64(opened)
	return result, err
}
