package skydns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/handover"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

const (
	// documentTimeout is how long the start waits for the settings in etcd.
	documentTimeout = 2 * time.Second
	// documentInterval is how often they are looked at later.
	documentInterval = time.Second
)

// configured is a server with the settings of the process and those in etcd over them. When the
// latter change, another server takes its place.
type configured struct {
	settings *Settings
	key      string // of the settings in etcd
	store    *store.Store
	mirror   *store.Mirror
	log      *slog.Logger
	registry prometheus.Registerer
	metrics  prometheus.Gatherer
	passed   []*os.File             // sockets that systemd opened
	server   atomic.Pointer[Server] // nil before the first
	sockets  *handover.Sockets
	post     *handover.Post
}

// LameDuck is how long the server goes on answering when it is told to end.
func (c *configured) LameDuck() time.Duration { return c.settings.LameDuckTime }

// NewDaemon returns the server that the settings describe, with its records from etcd.
func NewDaemon(settings *Settings, env daemon.Env) (daemon.Daemon, error) {
	st, err := newStore(settings, store.Options{Log: env.Log, ClusterKey: state.ClusterKey, Metrics: env.Metrics})
	if err != nil {
		return nil, err
	}
	passed, err := passedSockets(os.Getenv, os.Getpid())
	if err != nil {
		return nil, err
	}
	c := &configured{
		settings: settings, key: documentKey(settings),
		store: st, mirror: st.NewMirrorWithDirs("/" + strings.Trim(settings.PathPrefix, "/")),
		log: env.Log.With("component", "skydns"), registry: env.Metrics,
		metrics: env.Metrics, passed: passed,
	}
	c.sockets = handover.NewSockets(func(name handover.Name) bool {
		server := c.server.Load()
		return server != nil && server.wants(name)
	})
	c.post = handover.New(handover.Settings{Name: settings.post(), Server: c.sockets, Ready: c.couldServe, Log: c.log})
	return c, nil
}

// couldServe says why another server had better go on answering.
func (c *configured) couldServe() error {
	if server := c.server.Load(); server != nil {
		return server.hasRecords()
	}
	return errNoSettings
}

// Turn waits until this server answers, and returns a context that ends when another does.
func (c *configured) Turn(ctx context.Context) (context.Context, error) { return c.post.Turn(ctx) }

// documentKey is the key of the settings in etcd.
func documentKey(settings *Settings) string {
	return "/" + strings.Trim(settings.PathPrefix, "/") + "/config"
}

func newStore(settings *Settings, options store.Options) (*store.Store, error) {
	tls, err := settings.tls(options.Log)
	if err != nil {
		return nil, err
	}
	options.Endpoints, options.TLS = settings.Machines, tls
	options.Username, options.Password = settings.Username, settings.Password
	return store.New(options)
}

// Run serves until ctx ends. It fails if the settings in etcd can be read and make no sense.
func (c *configured) Run(ctx context.Context) error {
	value, err := c.document(ctx)
	if err != nil {
		c.log.Warn("settings in etcd not read yet", "key", c.key, "err", err)
	}
	config, err := c.config(value)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	// Another server that is about to take over does so first.
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer end()
		c.post.Run(ctx)
		return nil
	})
	group.Go(func() error { return c.mirror.Run(serving) })
	if c.settings.PrometheusPort != "" {
		group.Go(func() error { return c.serveMetrics(serving) })
	}
	group.Go(func() error {
		for serving.Err() == nil {
			var err error
			if config, value, err = c.serve(serving, config, value); err != nil {
				return err
			}
		}
		return nil
	})
	err = group.Wait()
	c.sockets.Close()
	return err
}

// Ready says why the server cannot answer now.
func (c *configured) Ready() error {
	if server := c.server.Load(); server != nil {
		return server.Ready()
	}
	return errNoSettings
}

var errNoSettings = errors.New("settings were not read yet")

// document reads the settings in etcd, empty if there are none.
func (c *configured) document(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	node, err := c.store.Get(ctx, c.key)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return node.Value, err
}

func (c *configured) config(value string) (Config, error) {
	merged, unknown, err := c.settings.with(c.key, value)
	if err != nil {
		return Config{}, err
	}
	if len(unknown) > 0 {
		c.log.Warn("settings in etcd have fields that mean nothing", "key", c.key, "fields", unknown)
	}
	config, err := merged.config()
	config.Sockets = c.sockets
	if err == nil && merged.Systemd {
		if config.Passed = c.passed; len(c.passed) == 0 {
			return config, errors.New("systemd passed no sockets")
		}
	}
	return config, err
}

// serve runs a server until ctx ends, or the settings in etcd, which are value now, make another
// config. It returns that.
func (c *configured) serve(ctx context.Context, config Config, value string) (Config, string, error) {
	metrics := &collectors{Registerer: c.registry}
	defer metrics.unregister()
	server, err := New(config, mirrored{c.mirror, c.store}, c.log, metrics)
	if err != nil {
		return config, value, err
	}
	c.server.Store(server)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		config, value = c.changed(ctx, config, value)
		stop()
		return nil
	})
	err = group.Wait()
	return config, value, err
}

// changed waits for the settings in etcd to make another config, and returns it. Settings that
// make no sense are logged, and the last ones stay.
func (c *configured) changed(ctx context.Context, config Config, value string) (Config, string) {
	tick := time.NewTicker(documentInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return config, value
		case <-tick.C:
		}
		snapshot := c.mirror.Snapshot()
		if !snapshot.Listed {
			continue
		}
		node, _ := snapshot.Get(c.key)
		if node.Value == value {
			continue
		}
		value = node.Value
		next, err := c.config(value)
		switch {
		case err != nil:
			c.log.Error("settings in etcd not taken over", "err", err)
		case !reflect.DeepEqual(next, config):
			c.log.Info("settings in etcd changed", "key", c.key)
			return next, value
		}
	}
}

// mirrored is a mirror that somebody else runs, and its store.
type mirrored struct {
	*store.Mirror
	*store.Store
}

func (mirrored) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// collectors are the metrics of one server, which the next one registers again.
type collectors struct {
	prometheus.Registerer
	registered []prometheus.Collector
}

func (c *collectors) Register(collector prometheus.Collector) error {
	if err := c.Registerer.Register(collector); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	c.registered = append(c.registered, collector)
	return nil
}

func (c *collectors) MustRegister(all ...prometheus.Collector) {
	c.Registerer.MustRegister(all...)
	c.registered = append(c.registered, all...)
}

func (c *collectors) unregister() {
	for _, collector := range c.registered {
		c.Unregister(collector)
	}
}
