package conductor

import (
	"encoding/json"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// patience is how long hosts have, from the first good read after the store was away or this
// scheduler began, to renew their leases.
const patience = 4 * time.Second

// forget is how long a host stays known that was lost and of which no key is left.
const forget = time.Minute

// hostTracker remembers when hosts were last heard of, by this process's monotonic clock.
type hostTracker struct {
	ttl     time.Duration
	renewed map[string]seen
}

type seen struct {
	modified uint64 // index of the renewal
	at       time.Time
}

func newHostTracker(ttl time.Duration) *hostTracker {
	return &hostTracker{ttl: ttl, renewed: map[string]seen{}}
}

// observe reads the hosts from the keys below /hosts. It returns also when a host that is
// missing now will count as lost, zero if none is missing.
func (t *hostTracker) observe(snapshot store.Snapshot, now time.Time) (hosts map[string]schedule.Host, wake time.Time) {
	hosts = map[string]schedule.Host{}
	for node := range snapshot.All(state.HostsDir + "/") {
		key, ok := state.ParseHostKey(node.Key)
		ip, kind := key.IP, key.Kind
		if !ok || kind != "lease" && kind != "info" {
			continue
		}
		host := hosts[ip]
		if kind == "lease" || host.IP == "" {
			host.Host = readHost(ip, node.Value)
		}
		if kind == "lease" && node.TTL > 0 { // without one it is not a conductor's
			t.renew(ip, node, now)
		}
		hosts[ip] = host
	}
	for ip, last := range t.renewed { // of which somebody deleted all that the cluster knew
		if _, known := hosts[ip]; known {
			continue
		}
		if now.Sub(last.at) > t.ttl+forget {
			delete(t.renewed, ip)
			continue
		}
		hosts[ip] = schedule.Host{Host: state.Host{IP: ip}}
	}
	for ip, host := range hosts {
		if lease, found := snapshot.Get(state.HostLeaseKey(ip)); found && lease.TTL > 0 {
			continue
		}
		lostAt := snapshot.Since.Add(patience)
		if last, known := t.renewed[ip]; known && last.at.Add(t.ttl).After(lostAt) {
			lostAt = last.at.Add(t.ttl)
		}
		host.Liveness = schedule.Lost
		if now.Before(lostAt) {
			host.Liveness = schedule.Missing
			if wake.IsZero() || lostAt.Before(wake) {
				wake = lostAt
			}
		}
		hosts[ip] = host
	}
	return hosts, wake
}

// readHost reads a host's own word on itself. An unreadable one leaves it without labels, but it is
// a host all the same.
func readHost(ip, value string) state.Host {
	var host state.Host
	if json.Unmarshal([]byte(value), &host) != nil {
		host = state.Host{}
	}
	host.IP = ip
	return host
}

// renew notes a renewal. The first time a lease is seen its remaining TTL tells its age.
func (t *hostTracker) renew(ip string, node store.Node, now time.Time) {
	last, known := t.renewed[ip]
	switch {
	case !known && node.TTL > 0 && node.TTL < t.ttl:
		t.renewed[ip] = seen{modified: node.Modified, at: now.Add(node.TTL - t.ttl)}
	case !known || last.modified != node.Modified:
		t.renewed[ip] = seen{modified: node.Modified, at: now}
	}
}

// observedInstances reads what hosts reported of their instances, but for lost hosts.
func observedInstances(snapshot store.Snapshot, hosts map[string]schedule.Host) map[string]schedule.Observed {
	all := map[string]schedule.Observed{}
	for node := range snapshot.All(state.HostsDir + "/") {
		key, ok := state.ParseHostKey(node.Key)
		if !ok || key.Kind != "instances" || hosts[key.IP].Liveness == schedule.Lost || hosts[key.IP].IP == "" {
			continue
		}
		o := schedule.Observed{Host: key.IP}
		if json.Unmarshal([]byte(node.Value), &o.Observed) == nil {
			all[key.Item] = o
		}
	}
	return all
}
