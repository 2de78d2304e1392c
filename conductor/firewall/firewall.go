// Package firewall keeps user containers away from the cluster's own ports: an nftables table of
// our own, for which it needs CAP_NET_ADMIN in the host's network.
package firewall

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// resync is how often the table is written although nothing changed: somebody may have flushed it.
const resync = time.Minute

// retry is how soon the table is written again after that failed.
const retry = 2 * time.Second

// Hosts is where the cluster's hosts are read from: a store.Mirror of /hosts.
type Hosts interface {
	Snapshot() store.Snapshot
	Hint() <-chan struct{}
}

// Firewall is the table on this host.
type Firewall struct {
	rules   Rules
	hosts   Hosts
	log     *slog.Logger
	applied atomic.Bool
}

// New makes a Firewall; it does no I/O. rules.Hosts is filled in from hosts.
func New(rules Rules, hosts Hosts, log *slog.Logger) *Firewall {
	return &Firewall{rules: rules, hosts: hosts, log: log}
}

// Ready says why containers are not isolated, nil if they are: from this host and from the others.
func (f *Firewall) Ready() error {
	if !f.applied.Load() {
		return fmt.Errorf("firewall table %s is not in place", tableName)
	}
	return nil
}

// Run keeps the table until ctx ends. It leaves the table in place then: containers outlive us.
// While the store is not known the hosts stay that the table has, also from an earlier process:
// unknown is not empty.
func (f *Firewall) Run(ctx context.Context) error {
	written, err := hostsInPlace()
	if err != nil {
		f.log.Warn("read firewall table", "err", err)
	}
	for first := true; ; first = false {
		wait := resync
		rules := f.rules
		hosts, known := f.clusterHosts()
		rules.Hosts = hosts
		if !known {
			rules.Hosts = written
		}
		if err := Apply(rules); err != nil {
			f.log.Error("write firewall table", "err", err)
			wait = retry
		} else {
			if first || !slices.Equal(written, rules.Hosts) {
				f.log.Info("firewall table is written", "hosts", rules.Hosts, "known", known)
			}
			written = rules.Hosts
			if known || len(written) > 0 {
				f.applied.Store(true)
			}
		}
		if !f.wait(ctx, wait, rules.Hosts, known) {
			return nil
		}
	}
}

// wait returns true when the table is to be written again, false when ctx ended.
func (f *Firewall) wait(ctx context.Context, longest time.Duration, written []netip.Addr, known bool) bool {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-f.hosts.Hint(): // leases are renewed all the time; only other hosts matter
			if hosts, ok := f.clusterHosts(); ok && (!known || !slices.Equal(hosts, written)) {
				return true
			}
		}
	}
}

// clusterHosts are the addresses of all hosts, in order; known is false while the store is not. One
// that knows no host at all was wiped or is new: the conductor here enters this host in any case.
func (f *Firewall) clusterHosts() (hosts []netip.Addr, known bool) {
	snapshot := f.hosts.Snapshot()
	if !snapshot.Known {
		return nil, false
	}
	for node := range snapshot.All(state.HostsDir + "/") {
		key, ok := state.ParseHostKey(node.Key)
		if addr, err := netip.ParseAddr(key.IP); ok && err == nil && addr.Is4() {
			hosts = append(hosts, addr)
		}
	}
	slices.SortFunc(hosts, netip.Addr.Compare)
	return slices.Compact(hosts), len(hosts) > 0
}
