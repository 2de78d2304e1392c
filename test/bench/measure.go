//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/test/bench/proxies"
)

// results are everything that was measured.
type results struct {
	machine                machine
	rounds, outages        int
	duels                  []duel
	load                   *load // while updates were measured; nil if none were
	paths                  paths
	lostScheduler, lostLed samples
	returned, gaps         samples
	rest                   []usage
	dns                    dnsResults
	proxies                proxies.Results
	hotPaths               []string // lines of "go test -bench"
}

// part is one of the things that are measured.
type part struct {
	name  string
	hosts int  // of the cluster; 0: none may run
	swarm bool // whether there must be a swarm of as many
	do    func(ctx context.Context) error
}

// partNames are what --only takes.
var partNames = []string{"starts", "restarts", "scales", "updates", "paths", "links", "etcd", "losses", "rest", "outages", "dns", "proxies", "hotpaths"}

// parts are in the order of the hosts that they need: a cluster only grows.
func (v *versus) parts() []part {
	r := v.r
	return []part{
		{"starts", 1, true, v.starts},
		{"restarts", 1, true, v.restarts},
		{"scales", 1, true, v.scales},
		{"updates", 1, true, v.updates},
		{"paths", 1, false, func(ctx context.Context) (err error) { r.paths, err = v.measurePaths(ctx); return err }},
		{"links", 1, false, into(&r.gaps, v.measureLinkGaps)},
		{"etcd", 1, false, into(&r.returned, v.measureReturnOfEtcd)},
		{"losses", 3, true, v.losses},
		{"rest", 3, false, func(ctx context.Context) (err error) { r.rest, err = v.measureRest(ctx); return err }},
		{"outages", 3, false, func(ctx context.Context) (err error) {
			if r.lostScheduler, err = v.measureHostLoss(ctx, scheduler); err != nil {
				return err
			}
			r.lostLed, err = v.measureHostLoss(ctx, leader)
			return err
		}},
		{"dns", 0, false, func(ctx context.Context) (err error) {
			r.dns, err = measureDNS(ctx, v.Binaries, max(2, v.Rounds/2))
			return err
		}},
		{"proxies", 0, false, func(ctx context.Context) (err error) {
			r.proxies, err = proxies.Measure(ctx, proxies.Options{Binary: filepath.Join(v.Binaries, "ambassador"), Rounds: max(2, v.Rounds/2), While: proxyWhile}, os.Stderr)
			if errors.Is(err, exec.ErrNotFound) {
				fmt.Fprintln(os.Stderr, "proxies are not measured:", err) // installed, they may take ports
				return nil
			}
			return err
		}},
		{"hotpaths", 0, false, func(ctx context.Context) (err error) { r.hotPaths, err = measureHotPaths(ctx); return err }},
	}
}

// into stores what was measured.
func into(all *samples, measure func(context.Context) (samples, error)) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		*all, err = measure(ctx)
		return err
	}
}

// proxyWhile is how long each proxy is under each load at a time.
const proxyWhile = time.Second

// measure makes the cluster and the swarm, measures, and removes them again.
func measure(ctx context.Context, o options, progress io.Writer) (r results, err error) {
	c, err := newCluster(o)
	if err != nil {
		return r, err
	}
	s, err := newSwarm(o)
	if err != nil {
		return r, err
	}
	v := &versus{cluster: c, swarm: s, r: &r}
	down := func(ctx context.Context) error { return errors.Join(s.down(ctx), c.down(ctx)) }
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err = errors.Join(err, down(ctx))
	}()
	r.rounds, r.outages = o.Rounds, o.Outages
	if r.machine, err = describeMachine(ctx); err != nil {
		return r, err
	}
	if err := down(ctx); err != nil { // what an earlier run may have left
		return r, err
	}
	parts := slices.DeleteFunc(v.parts(), func(p part) bool { return len(o.Only) > 0 && !slices.Contains(o.Only, p.name) })
	var failed error
	for i, p := range parts {
		start := time.Now()
		if err := v.prepare(ctx, parts[i:]); err != nil {
			return r, fmt.Errorf("prepare %s: %w", p.name, err)
		}
		ready := time.Now()
		if err := p.do(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err)) // what else is measured is worth having
			continue
		}
		fmt.Fprintf(progress, "%s: took %s, after %s of preparation\n", p.name, text(time.Since(ready)), text(ready.Sub(start)))
	}
	return r, failed
}

// prepare makes what the first part needs, and removes what none of the parts needs any more.
func (v *versus) prepare(ctx context.Context, parts []part) error {
	first := parts[0]
	needsSwarm := func(p part) bool { return p.swarm }
	if v.swarm.count > 0 && !slices.ContainsFunc(parts, needsSwarm) {
		if err := v.swarm.down(ctx); err != nil {
			return err
		}
	}
	if first.hosts == 0 {
		return v.down(ctx)
	}
	if v.hostCount < first.hosts {
		if err := v.up(ctx, first.hosts); err != nil {
			return err
		}
		var err error
		if v.r.machine.engine, err = v.engine(1).version(ctx); err != nil {
			return err
		}
	}
	if first.swarm && v.swarm.count < first.hosts {
		if err := v.swarm.up(ctx, first.hosts); err != nil {
			return err
		}
	}
	return wait(ctx, settling)
}

// measureHotPaths runs the Go benchmarks.
func measureHotPaths(ctx context.Context) (lines []string, err error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-short", "-run", "^$", "-bench", ".", "./...").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Benchmark") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines, nil
}
