package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// startDaemons has our daemons run on all hosts as they should. What is missing is started everywhere at
// the same time; what another is to take the place of, on one host after the other, each of which is
// healthy before the next one's turn. See docs/adr/0030-one-host-after-the-other.md.
func (i *installation) startDaemons(ctx context.Context) error {
	members, err := i.startEtcd(ctx)
	if err != nil {
		return err
	}
	if err := i.refuseHalf(ctx, members); err != nil {
		return err
	}
	if err := i.renewGateways(ctx, members); err != nil {
		return err
	}
	err = i.onEach(ctx, func(ctx context.Context, host Host) error {
		renews, err := i.renews(ctx, host, members)
		if err != nil || renews {
			return err
		}
		return i.bringAll(ctx, host, members)
	})
	if err != nil {
		return err
	}
	for n, host := range i.hosts {
		renews, err := i.renews(ctx, host, members)
		if err == nil && renews {
			err = i.renewHost(ctx, host, members)
		}
		if err != nil {
			return fmt.Errorf("%w%s", err, i.howFar(n))
		}
	}
	return i.onEach(ctx, i.clearAway)
}

// daemons are those of a host but etcd.
func (i *installation) daemons(host Host, members []netip.Addr) []daemonSpec {
	return daemonsOf(host.IP(), addresses(i.hosts), members, i.doors, i.key, i.ambassadorMode)
}

// renews tells whether a daemon that runs on the host is to be replaced.
func (i *installation) renews(ctx context.Context, host Host, members []netip.Addr) (bool, error) {
	for _, d := range i.daemons(host, members) {
		current, err := i.isCurrent(ctx, host, d)
		if err != nil {
			return false, err
		}
		if !current {
			return true, nil
		}
	}
	return false, nil
}

// isCurrent tells whether a daemon that runs is as it should be.
func (i *installation) isCurrent(ctx context.Context, host Host, d daemonSpec) (bool, error) {
	d, err := i.complete(ctx, host, d)
	if err != nil {
		return false, err
	}
	current, err := i.engines[host.IP()].isCurrent(ctx, d)
	if err != nil {
		return false, fmt.Errorf("host %s: %w", host.IP(), err)
	}
	return current, nil
}

// renewHost replaces what is to be replaced on a host, and waits until that has joined the cluster again.
func (i *installation) renewHost(ctx context.Context, host Host, members []netip.Addr) error {
	if err := i.bringAll(ctx, host, members); err != nil {
		return err
	}
	return i.waitRenewed(ctx, host)
}

// bringAll has all daemons of a host run as they should.
func (i *installation) bringAll(ctx context.Context, host Host, members []netip.Addr) (err error) {
	step := i.progress.step(host.IP().String(), "daemons")
	defer func() { step.end(err) }()
	names := slices.Clone(daemonNames)
	if slices.Contains(members, host.IP()) {
		if err := i.waitHealthy(ctx, host, etcdName); err != nil {
			return err
		}
	} else {
		names = others(etcdName, names)
	}
	daemons := i.daemons(host, members)
	for _, d := range daemons {
		step.doing("%s", d.name)
		// They may start in any order: none waits for another that is not there yet.
		existing, err := i.engines[host.IP()].find(ctx, d.name)
		if err == nil && existing == nil {
			err = i.run(ctx, host, d)
		}
		if err != nil {
			return err
		}
	}
	for _, d := range daemons {
		step.doing("%s", d.name)
		if err := i.bring(ctx, host, d); err != nil {
			return err
		}
	}
	step.done("%s are healthy", strings.Join(names, ", "))
	return nil
}

// bring has a daemon run as it should: healthy, with what it took over from ended, or as it was before.
func (i *installation) bring(ctx context.Context, host Host, d daemonSpec) error {
	if err := i.run(ctx, host, d); err != nil {
		return err
	}
	return i.settle(ctx, host, d.name, i.waitHealthy(ctx, host, d.name))
}

// renewGateways has the gateways that run ask these members, one after the other, before a member that
// they ask is gone for long. Whatever else is to change of them does so in their host's turn, unless it is now.
func (i *installation) renewGateways(ctx context.Context, members []netip.Addr) error {
	for _, host := range slices.Concat(i.hosts, i.leaving) {
		existing, err := i.engines[host.IP()].find(ctx, "gateway")
		if err != nil {
			return fmt.Errorf("host %s: %w", host.IP(), err)
		}
		gateway := gatewayDaemon(host.IP(), members)
		if existing == nil || !existing.State.Running || asksSame(existing.Config.Env, gateway.env) {
			continue
		}
		if err := i.bring(ctx, host, gateway); err != nil {
			return err
		}
	}
	return nil
}

// asksSame tells whether gateways of both environments ask the same members of etcd.
func asksSame(env, other []string) bool {
	asks, _ := lookup(env, "ETCD_ADDR")
	asked, _ := lookup(other, "ETCD_ADDR")
	return asks == asked
}

// waitRenewed waits until a host's conductor, which may have been replaced, has renewed its lease.
func (i *installation) waitRenewed(ctx context.Context, host Host) error {
	keys, err := openKeys(i.hosts, i.doors, i.log)
	if err != nil {
		return err
	}
	defer keys.Close()
	key := state.HostLeaseKey(host.IP().String())
	var since uint64
	err = i.until(ctx, func(ctx context.Context) error {
		lease, err := keys.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return errors.New("it has no lease")
		}
		if err != nil {
			return err
		}
		if since == 0 {
			since = lease.Modified
		}
		if lease.Modified == since {
			return errors.New("its lease is not renewed")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("host %s does not join the cluster again: %w%s", host.IP(), err, i.logEnd(ctx, host, "conductor"))
	}
	return nil
}

// clearAway removes what was told to end, and by now has, and our images that nothing is made from any
// more: until here the host could go back to them.
func (i *installation) clearAway(ctx context.Context, host Host) error {
	engine := i.engines[host.IP()]
	for _, name := range daemonNames {
		if _, err := engine.relieve(ctx, name); err != nil {
			return fmt.Errorf("host %s: end the %s from before: %w", host.IP(), name, err)
		}
	}
	if err := engine.removeOldImages(ctx); err != nil {
		return fmt.Errorf("host %s: %w", host.IP(), err)
	}
	return nil
}

// howFar says which hosts are up to date when one was not brought to it, and what can be done.
func (i *installation) howFar(n int) string {
	done := "none"
	if n > 0 {
		done = listAddresses(i.hosts[:n])
	}
	return fmt.Sprintf("\nHosts that are up to date: %s; as they were: %s. What they run goes on.\n"+
		"When the reason is gone the same command goes on from there; with the images from before, dokkaacfg upgrade --images=<directory> goes back.",
		done, listAddresses(i.hosts[n:]))
}
