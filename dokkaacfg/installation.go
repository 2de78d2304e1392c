package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/dokkaacfg/provision"
	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	startTimeout = 60 * time.Second // of a daemon, and of a host's lease
	pollInterval = 200 * time.Millisecond
)

// Installation is what Install does.
type Installation struct {
	Cluster string // name
	Hosts   []Host
	Images  string // directory; "" takes those that the hosts have
	// Registry is where hosts pull them from, "" where they are sent.
	Registry string
	// SecretKey is the file of the key that the cluster's secrets are encrypted with, here and on
	// each of the hosts, unless they are reached over SSH; "" for none.
	SecretKey string
	// AmbassadorMode is the ambassadors' AMBASSADOR_MODE; "" leaves it.
	AmbassadorMode string
	Out            io.Writer
	Log            *slog.Logger
}

// Install brings the images and our daemons onto the hosts, all as they would be brought by
// hand, and waits until every daemon is healthy and every host has its lease. What runs as it
// should is left alone, so it can be called again, with more hosts too.
func Install(ctx context.Context, o Installation) error {
	return newInstallation(o, newProgress(cmp.Or[io.Writer](o.Out, io.Discard))).install(ctx)
}

type installation struct {
	cluster  string
	token    string // of an etcd that is made
	hosts    []Host
	leaving  []Host       // hosts that are there still, but do not stay
	lost     []netip.Addr // of hosts that do not stay either, and do not let us in
	engines  map[netip.Addr]*engine
	images   string
	registry string // that hosts pull them from, "" for none
	key      keyFile
	log      *slog.Logger
	progress *progress

	ambassadorMode string
	doors          doors
}

func newInstallation(o Installation, p *progress) *installation {
	i := &installation{
		cluster: o.Cluster, token: o.Cluster, hosts: o.Hosts, images: o.Images, registry: o.Registry, progress: p, key: keyFile{path: o.SecretKey, onHost: o.SecretKey},
		ambassadorMode: o.AmbassadorMode,
		log:            cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		engines:        map[netip.Addr]*engine{},
	}
	if len(o.Hosts) > 0 && i.key.path != "" {
		if _, ok := o.Hosts[0].(hostedHost); ok {
			i.key.onHost = provision.SecretKeyFile
		}
	}
	return i
}

func (i *installation) install(ctx context.Context) error {
	if len(i.hosts) == 0 {
		return errors.New("there are no hosts")
	}
	if err := i.provision(ctx); err != nil {
		return err
	}
	if err := i.connect(ctx); err != nil {
		return err
	}
	if err := i.key.read(); err != nil {
		return err
	}
	if err := i.refuseForeign(ctx); err != nil {
		return err
	}
	if err := i.secure(ctx); err != nil {
		return err
	}
	if i.images != "" {
		if err := i.loadImages(ctx); err != nil {
			return err
		}
	}
	if err := i.startDaemons(ctx); err != nil {
		return err
	}
	return i.waitLeases(ctx)
}

// connect connects to the hosts' engines.
func (i *installation) connect(ctx context.Context) error {
	for _, host := range slices.Concat(i.hosts, i.leaving) {
		engine, err := connect(ctx, host, i.log)
		if err != nil {
			return err
		}
		i.engines[host.IP()] = engine
	}
	return nil
}

// provision makes machines of an operator's or a provider's ready.
func (i *installation) provision(ctx context.Context) error {
	all := addresses(i.hosts)
	return i.onEach(ctx, func(ctx context.Context, host Host) (err error) {
		machine, ok := host.(hostedHost)
		if !ok {
			return nil
		}
		step := i.progress.step(machine.Name, "prepare")
		defer func() { step.end(err) }()
		doing, did := func(what string) { step.doing("%s", what) }, func(what string) { step.done("%s", what) }
		if err := machine.provision(ctx, all, i.key.path, i.doors.open, doing, did); err != nil {
			return fmt.Errorf("prepare host %s: %w", machine.Name, err)
		}
		return nil
	})
}

// refuseForeign fails before anything is changed, if a container that is not ours has a name
// that one of ours needs.
func (i *installation) refuseForeign(ctx context.Context) error {
	return i.onEach(ctx, func(ctx context.Context, host Host) error {
		for _, name := range daemonNames {
			container, err := i.engines[host.IP()].find(ctx, name)
			if err != nil {
				return fmt.Errorf("host %s: %w", host.IP(), err)
			}
			if container != nil && !isOurs(container, name) {
				return fmt.Errorf("host %s has a container named %s that Dokkaa did not make; rename or remove it", host.IP(), name)
			}
		}
		return nil
	})
}

// run runs a daemon on a host.
func (i *installation) run(ctx context.Context, host Host, d daemonSpec) error {
	_, err := i.runDaemon(ctx, host, d)
	return err
}

// runDaemon runs a daemon on a host, and tells what there was to do, "" for nothing.
func (i *installation) runDaemon(ctx context.Context, host Host, d daemonSpec) (did string, err error) {
	if d, err = i.complete(ctx, host, d); err != nil {
		return "", err
	}
	did, err = i.engines[host.IP()].run(ctx, d)
	if err != nil {
		return "", fmt.Errorf("run %s on host %s: %w", d.name, host.IP(), err)
	}
	if did != "" {
		i.progress.done("host %s: %s %s", host.IP(), d.name, did)
	}
	return did, nil
}

// waitHealthy waits until a daemon says that it is healthy. The error of one that does not come
// to it has the end of its log.
func (i *installation) waitHealthy(ctx context.Context, host Host, name string) error {
	engine := i.engines[host.IP()]
	err := i.until(ctx, func(ctx context.Context) error { return engine.healthy(ctx, name) })
	if err == nil {
		return nil
	}
	return fmt.Errorf("host %s: %w%s", host.IP(), err, i.logEnd(ctx, host, name))
}

// settle ends what a daemon took over from; or, if that one has failed, leaves the host with what it had
// before, and returns the failure.
func (i *installation) settle(ctx context.Context, host Host, name string, failed error) error {
	engine := i.engines[host.IP()]
	if ctx.Err() != nil {
		return failed // the next up settles it
	}
	if failed != nil {
		restored, err := engine.restore(ctx, name)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("host %s: restore %s: %w", host.IP(), name, err))
		}
		if restored {
			return fmt.Errorf("%w\nThe %s from before goes on there", failed, name)
		}
		return failed
	}
	draining, err := engine.relieve(ctx, name)
	if err != nil {
		return fmt.Errorf("host %s: end the %s from before: %w", host.IP(), name, err)
	}
	if draining > 0 {
		i.progress.done("host %s: the %s from before ends with its open connections", host.IP(), name)
	}
	return nil
}

func (i *installation) logEnd(ctx context.Context, host Host, name string) string {
	text, err := i.engines[host.IP()].logs(ctx, name, time.Time{}, "10")
	if err != nil {
		return "\n" + err.Error()
	}
	return fmt.Sprintf("\nThe end of the log of %s on host %s:\n%s", name, host.IP(), text)
}

// waitLeases waits until every host's conductor has its lease.
func (i *installation) waitLeases(ctx context.Context) (err error) {
	keys, err := openKeys(i.hosts, i.doors, i.log)
	if err != nil {
		return err
	}
	defer keys.Close()
	step := i.progress.step("", "join")
	defer func() { step.end(err) }()
	for _, host := range i.hosts {
		step.doing("host %s", host.IP())
		key := state.HostLeaseKey(host.IP().String())
		err := i.until(ctx, func(ctx context.Context) error {
			_, err := keys.Get(ctx, key)
			return err
		})
		if err != nil {
			return fmt.Errorf("host %s does not join the cluster: %w%s", host.IP(), err, i.logEnd(ctx, host, "conductor"))
		}
	}
	step.done("cluster: hosts that have joined: %d", len(i.hosts))
	return nil
}

// onEach does f for all hosts at the same time.
func (i *installation) onEach(ctx context.Context, f func(context.Context, Host) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, host := range i.hosts {
		group.Go(func() error { return f(ctx, host) })
	}
	return group.Wait()
}

// until calls f until it returns nil, and returns its last error if that takes too long.
func (i *installation) until(ctx context.Context, f func(context.Context) error) error {
	return poll(ctx, startTimeout, f)
}

func poll(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		err := f(limited)
		if err == nil {
			return nil
		}
		if limited.Err() == nil || last == nil {
			last = err // not that the time was over, but what it was spent with
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			return fmt.Errorf("%w (waited %s)", last, timeout)
		case <-ticker.C:
		}
	}
}
