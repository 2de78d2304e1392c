//go:build linux

// Package proxies measures the ambassador beside other TCP proxies, which have one backend each and no
// question whose connection it is. The ambassador finds its callers in the list of an Engine, and its
// backends by DNS. Everything is on loopback and on the same cores.
package proxies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"time"
)

// Options are how to measure.
type Options struct {
	Binary string        // of the ambassador
	Rounds int           // of each load
	While  time.Duration // of each load of each proxy
	Only   string        // a regular expression for what to measure: names of loads, "idle", "tables", "kernel: <name of a load>"
}

// Results are what was measured.
type Results struct {
	Rounds int
	While  time.Duration
	Names  []string // of the proxies, ours first
	Loads  []loadResult
	Idle   []idleResult
	Tables []tableResult

	BridgedNames []string // of who is compared on the bridge, a direct connection first
	Bridged      []loadResult
}

// loadResult is what the proxies made of a load.
type loadResult struct {
	Name   string
	Rounds [][]figures // of each proxy
}

// load is one thing that is asked of all proxies.
type load struct {
	name string
	unit string
	per  float64 // what of the rate the processor time is told for
	run  func(ctx context.Context, c *contender, while time.Duration) (perSecond float64, p99 time.Duration, err error)

	rate, rate1m, cpu, p99 float64 // goals beside HAProxy; 0: none
}

func loads() (all []load) {
	for _, streams := range []int{1, 8} {
		for _, up := range []bool{true, false} {
			name, kind := fmt.Sprintf("bulk up, %d", streams), swallows
			if !up {
				name, kind = fmt.Sprintf("bulk down, %d", streams), pours
			}
			all = append(all, load{name: name, unit: "Gbit/s", per: 8e9, rate: 1.2, rate1m: 1, cpu: 0.4,
				run: func(ctx context.Context, c *contender, while time.Duration) (float64, time.Duration, error) {
					rate, err := bulkFor(ctx, c.from, c.port(kind), streams, up, while)
					return rate, 0, err
				}})
		}
	}
	for _, conns := range []int{16, 128} {
		all = append(all, load{name: fmt.Sprintf("connect, byte, close: %d", conns), unit: "/s", per: 1, rate: 1, cpu: 0.85, p99: 1,
			run: func(_ context.Context, c *contender, while time.Duration) (float64, time.Duration, error) {
				return exchangeFor(c.from, c.port(echoes), conns, true, while)
			}})
	}
	return append(all, load{name: "ping-pong, 16", unit: "/s", per: 1, rate: 1, cpu: 1,
		run: func(_ context.Context, c *contender, while time.Duration) (float64, time.Duration, error) {
			return exchangeFor(c.from, c.port(echoes), 16, false, while)
		}}, load{name: "HTTP keep-alive, 64", unit: "/s", per: 1, rate: 1, cpu: 1,
		run: func(ctx context.Context, c *contender, while time.Duration) (float64, time.Duration, error) {
			return requestsFor(ctx, c.port(answersHTTP), while)
		}})
}

// contest is one run.
type contest struct {
	Options
	only     *regexp.Regexp
	dir      string
	progress io.Writer
	worlds   []*world
}

// measure measures everything that the options want.
func measure(ctx context.Context, o Options, progress io.Writer) (r Results, err error) {
	only, err := regexp.Compile(o.Only)
	if err != nil {
		return r, err
	}
	c := &contest{Options: o, only: only, progress: progress}
	if c.dir, err = os.MkdirTemp("", "dokkaa-bench-proxies"); err != nil {
		return r, err
	}
	defer os.RemoveAll(c.dir)
	defer func() {
		for _, w := range c.worlds {
			w.stop()
		}
	}()
	stop, err := startBackends()
	if err != nil {
		return r, err
	}
	defer stop()
	r.Rounds, r.While = o.Rounds, o.While
	if err := c.loads(ctx, &r); err != nil {
		return r, err
	}
	if only.MatchString("idle") {
		if err := c.idle(ctx, &r); err != nil {
			return r, fmt.Errorf("idle: %w", err)
		}
	}
	if only.MatchString("tables") {
		if err := c.tables(ctx, &r); err != nil {
			return r, fmt.Errorf("tables: %w", err)
		}
	}
	if slices.ContainsFunc(loads(), func(l load) bool { return only.MatchString(bridgedPrefix + l.name) }) {
		err = c.bridged(ctx, &r)
	}
	return r, err
}

// world starts a world that ends with the contest.
func (c *contest) world(callers int, services []service) (*world, error) {
	w, err := startWorld(c.dir, fmt.Sprintf("world%d", len(c.worlds)), onLoopback, callers, proxyPort, services)
	if err == nil {
		c.worlds = append(c.worlds, w)
	}
	return w, err
}

// plainServices have one backend each.
func plainServices() (all []service) {
	for kind := range kinds {
		all = append(all, service{fmt.Sprintf("kind%d.shop.skydns.local", kind), backends(kind, 0, 1)})
	}
	return all
}

// proxies are all that are compared, ours first.
func (c *contest) proxies() (all []*contender, err error) {
	w, err := c.world(callerCount, plainServices())
	if err != nil {
		return nil, err
	}
	// Left to decide whether to splice, HAProxy does not here.
	ha, err1 := haproxy(c.dir, "HAProxy", 13, "", " option splice-auto\n")
	ha1m, err2 := haproxy(c.dir, "HAProxy, 1 MiB pipes", 14, " tune.pipesize 1048576\n", " option splice-request\n option splice-response\n")
	ng, err3 := nginx(c.dir, 15)
	return []*contender{ambassador("ambassador", c.Binary, 11, w), ha, ha1m, ng,
		ambassador("ambassador, simple form", c.Binary, 12, w, "AMBASSADOR_RELAY=plain"), direct()}, errors.Join(err1, err2, err3)
}

// loads measures each load with all proxies in turn, each round another first.
func (c *contest) loads(ctx context.Context, r *Results) error {
	all, err := c.proxies()
	if err != nil {
		return err
	}
	for _, p := range all {
		defer p.stop()
		if err := p.start(ctx, c.dir); err != nil {
			return err
		}
		r.Names = append(r.Names, p.name)
	}
	r.Loads, err = c.each(ctx, "", all)
	return err
}

// each measures the loads that are wanted, by their names behind the prefix.
func (c *contest) each(ctx context.Context, prefix string, all []*contender) (results []loadResult, err error) {
	for _, l := range loads() {
		if !c.only.MatchString(prefix + l.name) {
			continue
		}
		rounds, err := c.interleave(ctx, l, all)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		results = append(results, loadResult{l.name, rounds})
	}
	return results, nil
}

func (c *contest) interleave(ctx context.Context, l load, all []*contender) ([][]figures, error) {
	rounds := make([][]figures, len(all))
	for round := range c.Rounds {
		for turn := range all {
			i := (round + turn) % len(all)
			f, err := measureOne(ctx, l, all[i], c.While)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[i].name, err)
			}
			fmt.Fprintf(c.progress, "%s, %s: %s\n", l.name, all[i].name, f.text(l))
			rounds[i] = append(rounds[i], f)
		}
	}
	return rounds, nil
}

func measureOne(ctx context.Context, l load, c *contender, while time.Duration) (f figures, err error) {
	before, err := c.spent()
	if err != nil {
		return f, err
	}
	err = c.within.do(func() (err error) {
		f.Rate, f.P99, err = l.run(ctx, c, while)
		return err
	})
	if err != nil {
		return f, err
	}
	after, err := c.spent()
	f.Each = time.Duration(float64(after-before) / while.Seconds() / f.Rate * l.per)
	return f, err
}

// eventually asks until there is no error.
func eventually(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*stuck)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}
