// Package conductor runs one host of the cluster: its share of the containers, and, on one host
// at a time, the scheduler.
package conductor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	dnsconfig "github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/conductor/agent"
	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/conductor/firewall"
	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// Leases, see the design: a holder that cannot renew stops acting before its time is over.
const (
	hostTTL        = 8 * time.Second
	hostRenew      = 2 * time.Second
	schedulerTTL   = 4 * time.Second
	schedulerRenew = time.Second
)

// upkeep is how often the network and the firewall are looked after.
const (
	upkeep      = 15 * time.Second
	upkeepRetry = 200 * time.Millisecond
)

const (
	// preparation is how long a host that just started keeps its lease back until it is fit for
	// containers, so that it gets its share as soon as it shows. After that it shows why it is not.
	preparation = 10 * time.Second
	// conditionPoll is how often it is looked whether the host's condition changed.
	conditionPoll = 100 * time.Millisecond
)

// Conductor is the daemon.
type Conductor struct {
	settings Settings
	log      *slog.Logger
	store    *store.Store
	docker   *docker.Engine
	engine   *engine.Engine
	member   *membership
	apps     *store.Mirror
	agent    *agent.Agent
	host     *store.Lease
	schedule *scheduler
	isolated atomic.Bool
	id       string // of this process
}

// New makes a conductor, or, with settings.Firewall, the firewall alone. It does no I/O.
func New(settings Settings, env daemon.Env) (daemon.Daemon, error) {
	if err := settings.validate(); err != nil {
		return nil, err
	}
	st, err := store.New(store.Options{Endpoints: settings.EtcdAddr, Log: env.Log, ClusterKey: state.ClusterKey})
	if err != nil {
		return nil, err
	}
	if settings.Firewall {
		return newFirewall(settings, st, env.Log)
	}
	return newConductor(settings, st, env.Log)
}

func newConductor(settings Settings, st *store.Store, log *slog.Logger) (*Conductor, error) {
	dockerEngine, err := docker.New(settings.DockerHost, log.With("component", "docker"))
	if err != nil {
		return nil, err
	}
	c := &Conductor{settings: settings, log: log, store: st, docker: dockerEngine, id: state.NewInstanceID()}
	c.member = &membership{store: st, log: log}
	c.engine = engine.New(engine.Options{Docker: dockerEngine, Cluster: c.member.clusterID, HostIP: settings.HostIP,
		Nameservers: nameservers(), Log: log.With("component", "engine")})
	c.member.clusters = c.engine.Clusters
	c.apps = st.NewMirror(state.AppsDir)
	c.agent = agent.New(agent.Options{HostIP: settings.HostIP, Engine: c.engine, Apps: c.apps, Store: st, Log: log.With("component", "agent")})
	c.schedule = newScheduler(st, c.apps, hostTTL, log.With("component", "scheduler"))
	c.host = st.NewLease(store.LeaseOptions{Key: state.HostLeaseKey(settings.HostIP), Value: c.leaseValue, TTL: hostTTL, Renew: hostRenew})
	return c, nil
}

// Run works until ctx ends. User containers, their records and the host's lease are left alive.
func (c *Conductor) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.upkeep(ctx) })
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
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ended(ctx, c.apps.Run(ctx)) })
	group.Go(func() error { return c.spreadHints(ctx) })
	group.Go(func() error { return ended(ctx, c.watchDocker(ctx)) })
	group.Go(func() error { return c.agent.Run(ctx) })
	group.Go(func() error { return c.introduce(ctx) })
	group.Go(func() error {
		c.waitFit(ctx)
		return ended(ctx, c.host.Run(ctx, c.tellCondition))
	})
	lease := c.store.NewLease(store.LeaseOptions{Key: state.SchedulerKey, Value: func() string { return c.settings.HostIP + " " + state.NewInstanceID() },
		TTL: schedulerTTL, Renew: schedulerRenew, Exclusive: true})
	group.Go(func() error { return ended(ctx, lease.Run(ctx, c.schedule.run)) })
	return group.Wait()
}

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
	if age := time.Since(c.host.Renewed()); age > hostTTL {
		return errors.New("the host's lease could not be renewed")
	}
	return nil
}

// condition says why this host takes no new slots.
func (c *Conductor) condition() string {
	if !c.isolated.Load() {
		return "containers cannot be isolated yet"
	}
	if errors.Is(c.apps.Snapshot().Err, store.ErrForeignCluster) {
		return "etcd is another cluster's"
	}
	return c.agent.Condition()
}

// leaseValue is what the host says of itself now, infoValue what stays true without it.
func (c *Conductor) leaseValue() string { return c.hostValue(c.condition()) }
func (c *Conductor) infoValue() string  { return c.hostValue("") }

func (c *Conductor) hostValue(condition string) string {
	labels, err := c.settings.labels()
	if err != nil {
		panic(err) // was validated
	}
	data, err := json.Marshal(state.Host{IP: c.settings.HostIP, ID: c.id, Version: daemon.Version(), Arch: runtime.GOARCH,
		Labels: labels, Condition: condition})
	if err != nil {
		panic(err) // strings can be marshalled
	}
	return string(data)
}

// introduce writes what the cluster remembers of this host when it is gone.
func (c *Conductor) introduce(ctx context.Context) error {
	for {
		_, err := c.store.Set(ctx, state.HostInfoKey(c.settings.HostIP), c.infoValue(), 0)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(joinRetry):
		}
	}
}

// waitFit returns when the host is fit for containers, or may not keep it to itself any longer.
func (c *Conductor) waitFit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, preparation)
	defer cancel()
	c.eachPoll(ctx, func() bool { return c.condition() != "" })
}

// tellCondition has the lease renewed at once when the host's condition changes, until ctx ends.
func (c *Conductor) tellCondition(ctx context.Context) error {
	told := c.condition()
	c.eachPoll(ctx, func() bool {
		if now := c.condition(); now != told {
			told = now
			c.host.Touch()
		}
		return true
	})
	return nil
}

// eachPoll calls goOn again and again until it returns false or ctx ends.
func (c *Conductor) eachPoll(ctx context.Context, goOn func() bool) {
	ticker := time.NewTicker(conditionPoll)
	defer ticker.Stop()
	for goOn() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// spreadHints tells both readers of the mirror that it changed.
func (c *Conductor) spreadHints(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.apps.Hint():
			c.agent.Hint()
			c.schedule.wake()
		}
	}
}

func (c *Conductor) watchDocker(ctx context.Context) error {
	return c.docker.Watch(ctx, url.Values{"type": {"container"},
		"event": {"create", "start", "die", "destroy", "rename", "pause", "unpause", "oom"}}, func(docker.Event) { c.agent.EngineHint() })
}

// upkeep keeps the containers' network and the firewall in place. It needs no etcd.
func (c *Conductor) upkeep(ctx context.Context) error {
	said := ""
	for {
		wait := upkeep
		err := errors.Join(c.engine.EnsureNetwork(ctx), c.ensureFirewall(ctx))
		c.isolated.Store(err == nil)
		if err != nil {
			wait = upkeepRetry
			if err.Error() != said && ctx.Err() == nil {
				c.log.Warn("prepare this host for containers", "err", err)
			}
		}
		said = fmt.Sprint(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// ensureFirewall has the firewall kept by a container that may: ours is started without
// CAP_NET_ADMIN, and needs it for nothing else.
func (c *Conductor) ensureFirewall(ctx context.Context) error {
	err := c.engine.EnsureHelper(ctx, engine.Helper{Name: "dokkaa-firewall", Args: []string{"--firewall"}, CapAdd: []string{"NET_ADMIN"},
		Env: []string{"HOST_IP=" + c.settings.HostIP, "ETCD_ADDR=" + strings.Join(c.settings.EtcdAddr, ","),
			"PORT_RANGE=" + c.settings.PortRange, "HTTP_ADDR=" + firewallHTTPAddr}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+firewallHTTPAddr+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the firewall: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New("the firewall is not in place")
	}
	return nil
}

// firewallDaemon is what runs in the firewall container.
type firewallDaemon struct {
	*firewall.Firewall
	hosts *store.Mirror
}

func newFirewall(settings Settings, st *store.Store, log *slog.Logger) (*firewallDaemon, error) {
	ports, err := settings.ports()
	if err != nil {
		return nil, err
	}
	hosts := st.NewMirror(state.HostsDir)
	rules := firewall.Rules{Interface: engine.Network, Gateway: netip.MustParseAddr(engine.NetworkGateway), Ports: ports}
	return &firewallDaemon{Firewall: firewall.New(rules, hosts, log), hosts: hosts}, nil
}

// Run keeps the table until ctx ends.
func (f *firewallDaemon) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ended(ctx, f.hosts.Run(ctx)) })
	group.Go(func() error { return f.Firewall.Run(ctx) })
	return group.Wait()
}

// ended turns the error of something that ended because it was told to into none.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// nameservers are the host's own, which containers ask when ours does not answer. One on a
// loopback address cannot be reached from a container.
func nameservers() []string {
	config, err := dnsconfig.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	var servers []string
	for _, server := range config.Servers {
		if addr, err := netip.ParseAddr(server); err == nil && !addr.IsLoopback() && len(servers) < 2 {
			servers = append(servers, server)
		}
	}
	return servers
}
