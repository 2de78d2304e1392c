package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
	"github.com/dokkaa/dokkaa/dokkaacfg/provision"
	"github.com/dokkaa/dokkaa/dokkaacfg/remote"
)

const (
	newHostPatience   = 5 * time.Minute
	givenHostPatience = 15 * time.Second
)

// hosted are hosts that are reached over SSH, wherever they are.
type hosted struct {
	hosting.Provider
	name string // of the provider
	what string // they are, in a few words
	keep string // directory of what is kept about the cluster
	most int    // hosts that there can be
	// stay is set where hosts go on without the cluster: what is ours on them is removed instead.
	stay bool
	// patience is how long a host may take until it lets us in: one that was just made takes a while.
	patience time.Duration
	context  clusterContext
	log      *slog.Logger

	keys *remote.HostKeys
	mu   sync.Mutex
	open map[string]*remote.Host // by name
}

func newHosted(provider hosting.Provider, name, what, keep string, most int, log *slog.Logger) *hosted {
	return &hosted{
		Provider: provider, name: name, what: what, keep: keep, most: most, log: log,
		patience: newHostPatience,
		keys:     remote.NewHostKeys(filepath.Join(keep, "known_hosts")), open: map[string]*remote.Host{},
	}
}

// hostedHost is one of them.
type hostedHost struct {
	hosting.Host
	remote   *remote.Host
	patience time.Duration
}

func (h hostedHost) IP() netip.Addr     { return h.Private }
func (h hostedHost) DockerHost() string { return fmt.Sprintf("ssh://%s@%s", h.User, h.SSH) }

// login is what ssh takes for the host.
func (h hostedHost) login() string {
	if h.SSH.Port() == 22 {
		return fmt.Sprintf("%s@%s", h.User, h.SSH.Addr())
	}
	return fmt.Sprintf("-p %d %s@%s", h.SSH.Port(), h.User, h.SSH.Addr())
}

// dialThere connects from the host.
func (h hostedHost) dialThere(ctx context.Context, network, addr string) (net.Conn, error) {
	return h.remote.Dial(ctx, network, addr)
}

func (h *hosted) describe() string { return h.what }
func (h *hosted) dir() string      { return h.keep }
func (h *hosted) maxScale() int    { return h.most }

func (h *hosted) prepare(context.Context, *progress) error { return nil }

func (h *hosted) up(ctx context.Context, scale int, p *progress) ([]Host, error) {
	found, err := h.Make(ctx, scale, p.done)
	return h.asHosts(found), err
}

func (h *hosted) hosts(ctx context.Context) ([]Host, error) {
	found, err := h.List(ctx)
	return h.asHosts(found.Hosts), err
}

func (h *hosted) asHosts(found []hosting.Host) []Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Host
	for _, host := range found {
		// One that was just made gets its address later, and one that is lost is followed by another.
		if old := h.open[host.Name]; old == nil || !old.Is(host) {
			if old != nil {
				old.Close()
			}
			h.open[host.Name] = remote.New(host, h.keys)
		}
		all = append(all, hostedHost{host, h.open[host.Name], h.patience})
	}
	return all
}

// remove removes a host, or what is ours on it. One that is not reached is forgotten all the same:
// its operator was told.
func (h *hosted) remove(ctx context.Context, host Host) error {
	machine, ok := host.(hostedHost)
	if !ok {
		return fmt.Errorf("host %s is not one of %s", host.IP(), h.what)
	}
	if h.stay && machine.remote.Connect(ctx) == nil {
		if err := h.clearHost(ctx, machine); err != nil {
			return err
		}
	}
	return h.Remove(ctx, machine.Name)
}

// close ends the connections to the hosts.
func (h *hosted) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, host := range h.open {
		host.Close()
	}
	clear(h.open)
}

func (h *hosted) leftovers(ctx context.Context) ([]string, error) {
	found, err := h.List(ctx)
	var all []string
	for _, host := range found.Hosts {
		switch {
		case h.stay:
			all = append(all, fmt.Sprintf("from host %s (%s): our containers with their volumes, images and network, and our settings", host.Name, host.SSH))
		case host.SSH.IsValid():
			all = append(all, fmt.Sprintf("host %s (%s)", host.Name, host.SSH.Addr()))
		default:
			all = append(all, fmt.Sprintf("host %s (without an address yet)", host.Name))
		}
	}
	all = append(all, found.Others...)
	if _, err := os.Stat(h.keep); err == nil {
		all = append(all, "directory "+h.keep)
	}
	return all, err
}

func (h *hosted) kept(ctx context.Context) ([]string, error) {
	found, err := h.List(ctx)
	if h.stay && len(found.Hosts) > 0 {
		found.Kept = append(found.Kept, "the hosts, with all that is not from Dokkaa, and Docker Engine")
	}
	return found.Kept, err
}

// keepsHosts tells whether hosts stay when the cluster goes.
func (h *hosted) keepsHosts() bool { return h.stay }

func (h *hosted) down(ctx context.Context) error {
	if h.stay {
		if err := h.clearAll(ctx); err != nil {
			return err
		}
	}
	if err := h.RemoveAll(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(h.keep); err != nil {
		return fmt.Errorf("remove what is kept about the cluster: %w", err)
	}
	return nil
}

// clearAll removes what is ours from the hosts. One that it cannot be removed from does not hinder
// the others; those that are done are forgotten.
func (h *hosted) clearAll(ctx context.Context) error {
	hosts, err := h.hosts(ctx)
	if err != nil {
		return err
	}
	failed := make([]error, len(hosts))
	var group sync.WaitGroup
	for n, host := range hosts {
		group.Go(func() { failed[n] = h.clearHost(ctx, host.(hostedHost)) })
	}
	group.Wait()
	for n, host := range hosts {
		if failed[n] == nil {
			failed[n] = h.Remove(ctx, host.(hostedHost).Name)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w\nThe cluster is still known, and down goes on with what is left", err)
	}
	return nil
}

func (h *hosted) clearHost(ctx context.Context, host hostedHost) error {
	facts, err := provision.Inspect(ctx, host.remote)
	if err != nil {
		return err
	}
	if facts.HasEngine() {
		engine, err := engineOf(host, h.log)
		if err != nil {
			return err
		}
		if err := removeRemains(ctx, engine); err != nil {
			return fmt.Errorf("host %s: %w", host.Name, err)
		}
	}
	if err := provision.Clear(ctx, host.remote); err != nil {
		return fmt.Errorf("host %s: %w", host.Name, err)
	}
	return nil
}

// reachAny waits until one of the hosts lets us in, if they are reached over SSH. That may take longer
// than their keys may take to be read; and why none does is more than that nothing answered.
func reachAny(ctx context.Context, hosts []Host) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	tried := make(chan error, len(hosts))
	for _, host := range hosts {
		machine, ok := host.(hostedHost)
		if !ok {
			return nil
		}
		group.Go(func() { tried <- machine.remote.Connect(ctx) })
	}
	var failed []error
	for range hosts {
		err := <-tried
		if err == nil {
			return nil
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// provision makes the machine ready for our daemons.
func (h hostedHost) provision(ctx context.Context, all []netip.Addr, keyFile string, open []netip.Prefix, doing, did func(string)) error {
	key, err := os.ReadFile(keyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the cluster's key: %w", err)
	}
	doing("connects")
	if err := h.waitForSSH(ctx, did); err != nil {
		return err
	}
	facts, err := provision.Inspect(ctx, h.remote)
	if err != nil {
		return err
	}
	return provision.Prepare(ctx, h.remote, facts, provision.Wanted{Self: h.Private, Hosts: all, OpenKeys: open, SecretKey: key}, doing, did)
}

// waitForSSH waits until the host lets us in: one that was just made does not do so at once. Another
// host key does not become the right one.
func (h hostedHost) waitForSSH(ctx context.Context, tell func(string)) error {
	var changed *remote.ChangedKeyError
	var last error
	told := false
	err := poll(ctx, h.patience, func(ctx context.Context) error {
		if last = h.remote.Connect(ctx); errors.As(last, &changed) {
			return nil
		}
		if last != nil && !told {
			tell(fmt.Sprintf("waits up to %s to be let in: %v", h.patience, last))
			told = true
		}
		return last
	})
	if changed != nil {
		return last
	}
	return err
}
