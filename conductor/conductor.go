// Package conductor runs one host of the cluster: its share of the containers, and, on one host
// at a time, the scheduler.
package conductor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/conductor/agent"
	"github.com/dokkaa/dokkaa/conductor/event"
	"github.com/dokkaa/dokkaa/conductor/hostapi"
	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// Leases, see the design: a holder that cannot renew stops acting before its time is over. Those of
// hosts are so unless the cluster's settings say otherwise.
const (
	hostTTL        = state.DefaultHostTTL
	hostRenew      = state.DefaultHostRenew
	schedulerTTL   = 4 * time.Second
	schedulerRenew = time.Second
)

// Conductor is the daemon.
type Conductor struct {
	settings Settings
	log      *slog.Logger
	store    *store.Store
	machine  machine
	member   *membership
	apps     *store.Mirror
	removals *store.Mirror // requests to this host to remove volumes
	events   *event.Recorder
	agent    *agent.Agent
	api      *hostapi.API
	disk     *disk
	host     *store.Lease
	times    atomic.Pointer[hostTimes] // of host
	schedule *scheduler
	standing standing               // of this host
	unfit    atomic.Pointer[string] // why containers cannot be isolated, "" if they can; nil before that was tried
	id       string                 // of this process
}

// New makes a conductor, or, with settings.Firewall, the firewall alone. It reads its certificate, and does
// no other I/O.
func New(settings Settings, env daemon.Env) (daemon.Daemon, error) {
	if err := settings.validate(); err != nil {
		return nil, err
	}
	secure, err := settings.tls(env.Log)
	if err != nil {
		return nil, err
	}
	st, err := store.New(store.Options{Endpoints: settings.EtcdAddr, TLS: secure, Log: env.Log, ClusterKey: state.ClusterKey, Metrics: env.Metrics})
	if err != nil {
		return nil, fmt.Errorf("ETCD_ADDR: %w", err)
	}
	if settings.Firewall {
		return newFirewall(settings, st, env.Log)
	}
	member := &membership{store: st, log: env.Log}
	m, err := newMachine(settings, member.clusterID, env.Log)
	if err != nil {
		return nil, err
	}
	return newConductor(settings, st, member, m, env), nil
}

func newConductor(settings Settings, st *store.Store, member *membership, m machine, env daemon.Env) *Conductor {
	log := env.Log
	c := &Conductor{settings: settings, log: log, store: st, machine: m, member: member, id: state.NewInstanceID()}
	c.times.Store(&hostTimes{hostTTL, hostRenew})
	member.clusters = m.clusters
	c.apps, c.removals = st.NewMirror(state.AppsDir), st.NewMirror(state.RemovalsDir(settings.HostIP))
	c.events = event.New(st, func() bool { return c.apps.Snapshot().Known }, log.With("component", "events"))
	c.agent = agent.New(agent.Options{HostIP: settings.HostIP, Engine: m.engine, Apps: c.apps, Store: st,
		Lease:    func() (time.Time, time.Duration) { return c.host.Life() },
		Removals: c.removals, SecretKey: settings.secretKey, Connections: m.connections, Events: c.events.Record,
		Log: log.With("component", "agent"), Metrics: env.Metrics})
	c.api = hostapi.New(m.api, log.With("component", "api"))
	c.disk = &disk{usage: m.disk, relieve: c.agent.CollectImages, log: log}
	c.schedule = newScheduler(st, c.apps, func() time.Duration { return c.times.Load().ttl }, c.events, log.With("component", "scheduler"), env.Metrics)
	c.host = st.NewLease(store.LeaseOptions{Key: state.HostLeaseKey(settings.HostIP), Value: c.leaseValue, TTL: hostTTL, Renew: hostRenew})
	return c
}

// Run works until ctx ends. User containers, their records and the host's lease are left alive.
func (c *Conductor) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.upkeep(ctx) })
	group.Go(func() error { return c.agent.Fence(ctx) }) // also before it is known which cluster this is
	group.Go(func() error { return c.api.Run(ctx) })
	group.Go(func() error {
		if err := c.member.join(ctx); err != nil {
			return ended(ctx, err)
		}
		return c.work(ctx)
	})
	return group.Wait()
}

// work is everything that needs the cluster.
func (c *Conductor) work(ctx context.Context) error {
	refused := c.readSettings(ctx, "")
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.followSettings(ctx, refused) })
	group.Go(func() error { return ended(ctx, c.apps.Run(ctx)) })
	group.Go(func() error { return ended(ctx, c.removals.Run(ctx)) })
	group.Go(func() error { c.disk.run(ctx); return nil })
	group.Go(func() error { return c.spreadHints(ctx) })
	group.Go(func() error { return ended(ctx, c.machine.watch(ctx, c.agent.EngineHint, c.agent.EngineEcho)) })
	group.Go(func() error { return c.agent.Run(ctx) })
	group.Go(func() error { return c.introduce(ctx) })
	group.Go(func() error { return c.events.Run(ctx) })
	group.Go(func() error {
		c.waitFit(ctx)
		return ended(ctx, c.host.Run(ctx, c.attend))
	})
	lease := c.store.NewLease(store.LeaseOptions{Key: state.SchedulerKey, Value: func() string { return c.settings.HostIP + " " + state.NewInstanceID() },
		TTL: schedulerTTL, Renew: schedulerRenew, Exclusive: true})
	group.Go(func() error {
		return ended(ctx, lease.Run(ctx, func(ctx context.Context) error {
			c.events.Record(state.Event{Kind: "scheduler", Host: c.settings.HostIP, Reason: "schedules now"})
			return c.schedule.run(ctx)
		}))
	})
	return group.Wait()
}

// Routes serves the API of this host.
func (c *Conductor) Routes(mux *http.ServeMux) { c.api.Routes(mux) }

// Ready says why this host does not work as it should.
func (c *Conductor) Ready() error {
	if err := c.member.ready(); err != nil {
		return err
	}
	if snapshot := c.apps.Snapshot(); !snapshot.Known {
		return fmt.Errorf("etcd is not known: %w", snapshot.Err)
	}
	if condition := c.condition(); condition != "" {
		return errors.New(condition)
	}
	if age := time.Since(c.host.Renewed()); age > c.times.Load().ttl {
		return errors.New("the host's lease could not be renewed")
	}
	return nil
}

// spreadHints tells the readers of the mirrors that these changed.
func (c *Conductor) spreadHints(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.apps.Hint():
			c.agent.Hint()
			c.schedule.wake()
		case <-c.removals.Hint():
			c.agent.VolumesHint()
		}
	}
}

// ended turns the error of something that ended because it was told to into none.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
