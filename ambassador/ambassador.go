// Package ambassador connects a container to the services that it is linked to. It listens on
// the gateway address of the containers' network, knows the caller by its source address and
// what it may reach by the port, and carries the bytes to an instance of the service.
package ambassador

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/identity"
	"github.com/dokkaa/dokkaa/ambassador/ledger"
	"github.com/dokkaa/dokkaa/ambassador/names"
	"github.com/dokkaa/dokkaa/ambassador/relay"
	"github.com/dokkaa/dokkaa/ambassador/udp"
	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/handover"
)

// Ambassador is the daemon.
type Ambassador struct {
	settings Settings
	log      *slog.Logger
	metrics  *metrics
	ledger   *ledger.Ledger

	callers   *identity.Callers
	names     *names.Resolver
	dialer    net.Dialer
	relay     relay.Relay
	listeners *listeners
	datagrams *udp.Server
	post      *handover.Post
	refusals  *refusals
	shortcut  *shortcut

	slots       chan struct{} // one for each open connection
	shares      *quota        // of the slots
	waiting     *quota        // of connections that wait for an endpoint
	connections sync.WaitGroup
	work        context.Context // of the open connections
	stop        context.CancelFunc
}

// New makes the ambassador. It does no I/O.
func New(settings Settings, env daemon.Env) (*Ambassador, error) {
	e, err := docker.New(settings.DockerHost, env.Log)
	if err != nil {
		return nil, err
	}
	return newAmbassador(settings, env, e), nil
}

func newAmbassador(settings Settings, env daemon.Env, e engine) *Ambassador {
	a := &Ambassador{
		settings: settings,
		log:      env.Log,
		metrics:  newMetrics(env.Metrics),
		ledger:   ledger.New(),
		dialer:   net.Dialer{KeepAliveConfig: relay.KeepAlive},
		refusals: newRefusals(env.Log),
		slots:    make(chan struct{}, settings.MaxConnections),
		shares:   newQuota(settings.MaxConnectionsPerContainer),
		waiting:  newQuota(maxWaiting),
	}
	env.Metrics.MustRegister(a.ledger)
	a.dialer.SetMultipathTCP(false) // what the kernel cannot splice
	a.shortcut = newShortcut(a, e, env)
	a.callers = identity.New(identity.Settings{Engine: a.shortcut.docker, Log: env.Log, Failed: a.metrics.listErrors.Inc,
		Changed: func() { a.listeners.poke() }})
	a.datagrams = udp.New(udp.Settings{Call: a.flow, Log: env.Log, Idle: settings.UDPTimeout,
		Max: settings.MaxFlows, MaxPerSource: settings.MaxFlowsPerContainer})
	a.listeners = newListeners(settings.PortRange, a.settings.listenOn(), a.callers.Wanted, a.accept, a.datagrams.Serve, a.metrics, env.Log)
	a.post = handover.New(handover.Settings{Name: settings.post(), Server: a.listeners, Ready: a.callers.Ready, Log: env.Log})
	a.names = names.New(names.Settings{
		Server:   func() (string, error) { return a.settings.nameServer(a.listeners.address()) },
		MaxStale: settings.MaxStale, SlowStart: settings.SlowStart,
		Failed: a.metrics.dnsErrors.Inc, Log: env.Log,
	})
	// Connections outlive the end of Run's context for as long as they are drained.
	a.work, a.stop = context.WithCancel(context.Background())
	return a
}

// Ready says why no container can connect now, nil if all can.
func (a *Ambassador) Ready() error {
	return errors.Join(a.listeners.ready(), a.callers.Ready(), a.shortcut.ready())
}

// Addrs returns the addresses that connections are accepted at now.
func (a *Ambassador) Addrs() []netip.AddrPort { return a.listeners.addresses(handover.TCP) }

// Turn waits until this ambassador serves, and returns a context that ends when another does.
func (a *Ambassador) Turn(ctx context.Context) (context.Context, error) { return a.post.Turn(ctx) }

// Run serves until ctx ends, then lets open connections go on for the drain timeout, and
// closes them. It may be called once.
func (a *Ambassador) Run(ctx context.Context) error {
	defer a.stop()
	raiseFileLimit(a.settings.MaxConnections, a.settings.MaxFlows, a.log)
	if err := a.openRelay(); err != nil {
		return fmt.Errorf("open relay: %w", err)
	}
	var group sync.WaitGroup
	group.Go(func() { a.callers.Run(a.work) })
	group.Go(func() { a.names.Run(a.work) })
	group.Go(func() { a.relay.Run(a.work) })
	group.Go(func() { a.datagrams.Run(a.work) })
	group.Go(func() { a.ledger.Run(a.work) })
	group.Go(func() { a.shortcut.run(ctx) })
	patience := time.AfterFunc(math.MaxInt64, a.stop)
	defer patience.Stop()
	defer context.AfterFunc(ctx, func() { patience.Reset(a.settings.DrainTimeout) })()
	group.Go(func() { a.listeners.run(ctx) })
	a.post.Run(ctx)
	a.listeners.close()
	a.drain()
	a.stop()
	group.Wait()
	return nil
}

// openRelay makes the relay that the settings want.
func (a *Ambassador) openRelay() (err error) {
	settings := relay.Settings{Admit: a.admit, Refused: a.refused, Log: a.log, Idle: a.settings.IdleTimeout}
	if a.settings.Relay == plainRelay {
		a.relay = relay.NewPlain(settings)
		return nil
	}
	a.relay, err = relay.New(settings)
	return err
}

// accept is the relay's, which is there once Run began.
func (a *Ambassador) accept(listener *net.TCPListener) (stop func(), err error) {
	return a.relay.Accept(listener)
}

// drain waits until no connection is open. That they are not for longer than the settings want is
// for others to see to.
func (a *Ambassador) drain() {
	if open := len(a.slots); open > 0 {
		a.log.Info("draining connections", "open", open, "timeout", a.settings.DrainTimeout)
	}
	a.connections.Wait()
}
