//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// results are everything that was measured.
type results struct {
	machine                           machine
	rounds, outages                   int
	cluster, cli, api                 starts
	restarted, restartedByDocker      samples
	lostPlain, lostScheduler, lostLed samples
	returned, gaps                    samples
	rest                              []usage
	hotPaths                          []string // lines of "go test -bench"
}

// measure makes the cluster, measures, and removes the cluster again.
func measure(ctx context.Context, o options, progress io.Writer) (r results, err error) {
	c, err := newCluster(o)
	if err != nil {
		return r, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err = errors.Join(err, c.down(ctx))
	}()
	r.rounds, r.outages = o.Rounds, o.Outages
	if r.machine, err = describeMachine(ctx); err != nil {
		return r, err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"make a cluster of two hosts", c.begin(&r)},
		{"daemons at rest", c.rest(&r)},
		{"starts", func(ctx context.Context) (err error) { r.cluster, r.cli, r.api, err = c.measureStarts(ctx); return err }},
		{"restarts", func(ctx context.Context) (err error) {
			r.restarted, r.restartedByDocker, err = c.measureRestarts(ctx)
			return err
		}},
		{"links while the ambassador is killed", into(&r.gaps, c.measureLinkGaps)},
		{"return of etcd", into(&r.returned, c.measureReturnOfEtcd)},
		{"loss of a host", into(&r.lostPlain, c.loss(plain))},
		{"loss of the scheduler's host", into(&r.lostScheduler, c.loss(scheduler))},
		{"grow the cluster to three hosts", func(ctx context.Context) error { return c.up(ctx, 3) }},
		{"loss of the etcd leader's host", into(&r.lostLed, c.loss(leader))},
		{"hot paths", func(ctx context.Context) (err error) {
			if err := c.down(ctx); err != nil {
				return err
			}
			r.hotPaths, err = measureHotPaths(ctx)
			return err
		}},
	} {
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return r, fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Fprintf(progress, "%s: took %s\n", step.what, text(time.Since(start)))
	}
	return r, nil
}

// into stores what was measured.
func into(all *samples, measure func(context.Context) (samples, error)) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		*all, err = measure(ctx)
		return err
	}
}

func (c *cluster) loss(r role) func(context.Context) (samples, error) {
	return func(ctx context.Context) (samples, error) { return c.measureHostLoss(ctx, r) }
}

// begin makes the cluster, after removing what an earlier run may have left.
func (c *cluster) begin(r *results) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		if err := errors.Join(c.down(ctx), c.up(ctx, 2)); err != nil {
			return err
		}
		r.machine.engine, err = c.engine(1).version(ctx)
		return err
	}
}

// measureHotPaths runs the Go benchmarks.
func measureHotPaths(ctx context.Context) (lines []string, err error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "./...").CombinedOutput()
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

// rest measures the daemons while the documented example runs: a web server and its crawler.
func (c *cluster) rest(r *results) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		const crawler = `{"image": "` + shellImage + `", "links": ["web"], "command": ["/bin/bash", "-c",
			"while true; do curl http://$SERVICE_WEB_ADDR:$SERVICE_WEB_PORT; sleep 2; done"]}`
		for name, manifest := range map[string]string{"web": web("web", 1), "crawler": crawler} {
			if err := c.put(ctx, name, manifest); err != nil {
				return err
			}
			if _, err := c.healthy(ctx, name, 1); err != nil {
				return err
			}
		}
		if err := wait(ctx, resting); err != nil { // to come to rest
			return err
		}
		if r.rest, err = c.measureRest(ctx); err != nil {
			return err
		}
		return c.remove(ctx, "crawler", "web")
	}
}
