//go:build linux

package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// runner is a way to run the web server.
type runner interface {
	engines() []engine                    // of its hosts
	label() string                        // that the containers have
	run(ctx context.Context, n int) error // asks for n, where there is none
	clear(ctx context.Context) error      // removes them all and waits until they are gone
}

// orchestrator is a runner that also changes what runs.
type orchestrator interface {
	runner
	scale(ctx context.Context, n int) error
	// update asks for other containers in place of those that run.
	update(ctx context.Context) error
}

// bare is "docker run", on one host.
type bare struct {
	engine
	options []string // of docker run
}

// atOnce is with how many at a time the Engine has done all the soonest.
const atOnce = 8

func (b bare) engines() []engine { return []engine{b.engine} }

func (b bare) label() string { return "dokkaa.bench" }

func (b bare) run(ctx context.Context, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for range n {
		group.Go(func() error {
			args := append([]string{"run", "-d", "--label", b.label(), "-p", b.ip + "::80"}, b.options...)
			_, err := b.docker(ctx, append(args, webImage)...)
			return err
		})
	}
	return group.Wait()
}

func (b bare) clear(ctx context.Context) error {
	all, err := b.list(ctx, b.label())
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, c := range all {
		group.Go(func() error { return b.remove(ctx, c.ID) })
	}
	return group.Wait()
}

// manifests is the cluster that is measured, as a runner.
type manifests struct {
	*cluster
	// more is what the manifest says beside the image, the scale and the service.
	more string
	// changes counts the updates, which change the environment.
	changes int
	now     int // the scale
}

const webName = "web"

func (m *manifests) engines() []engine {
	var all []engine
	for host := 1; host <= m.hostCount; host++ {
		all = append(all, m.engine(host))
	}
	return all
}

func (m *manifests) label() string { return "dokkaa.name=" + webName }

func (m *manifests) run(ctx context.Context, n int) error { return m.scale(ctx, n) }

func (m *manifests) scale(ctx context.Context, n int) error {
	m.now = n
	return m.put(ctx, webName, fmt.Sprintf(`{"image": %q, "scale": %d, "services": {%q: 80}, "env": {"CHANGE": "%d"}%s}`,
		webImage, n, webName, m.changes, m.more))
}

func (m *manifests) update(ctx context.Context) error {
	m.changes++
	return m.scale(ctx, m.now)
}

func (m *manifests) clear(ctx context.Context) error { return m.remove(ctx, webName) }
