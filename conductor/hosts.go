package conductor

import (
	"encoding/json"
	"maps"
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
	keys    map[string]store.Node // of hosts, but not of what runs there
	words   map[string]words      // by key: what a host says of itself is read once
	renewed map[string]seen
}

type seen struct {
	modified uint64 // index of the renewal
	at       time.Time
}

func newHostTracker(ttl time.Duration) *hostTracker {
	return &hostTracker{ttl: ttl, keys: map[string]store.Node{}, words: map[string]words{}, renewed: map[string]seen{}}
}

// isHostKey tells whether a key says something of a host itself.
func isHostKey(key string) bool {
	k, ok := state.ParseHostKey(key)
	return ok && (k.Kind == "lease" || k.Kind == "info" || k.Kind == "availability" || k.Kind == "labels")
}

// follow takes in the keys below /hosts that changed, or all that there are.
func (t *hostTracker) follow(snapshot store.Snapshot, changed []string, all bool) {
	if all {
		clear(t.keys)
		for node := range snapshot.All(state.HostsDir) {
			if isHostKey(node.Key) {
				t.keys[node.Key] = node
			}
		}
		return
	}
	for _, key := range changed {
		if node, found := snapshot.Get(key); found && isHostKey(key) {
			t.keys[key] = node
		} else {
			delete(t.keys, key)
		}
	}
}

// renewal notes that a lease was renewed, if a key that changed says no more than that.
func (t *hostTracker) renewal(node store.Node, now time.Time) bool {
	before, found := t.keys[node.Key]
	if !found || before.TTL == 0 || node.TTL == 0 || before.Value != node.Value {
		return false
	}
	k, _ := state.ParseHostKey(node.Key) // only such keys are kept
	if k.Kind == "lease" {
		t.renew(k.IP, node, now)
	}
	return k.Kind == "lease"
}

// observe judges the hosts, of a store that is known since a time. It returns also when a host
// that is missing now will count as lost, zero if none is missing.
func (t *hostTracker) observe(known, now time.Time) (hosts map[string]schedule.Host, wake time.Time) {
	hosts = map[string]schedule.Host{}
	for key, node := range t.keys {
		k, _ := state.ParseHostKey(key) // only such keys are kept
		host := hosts[k.IP]
		if k.Kind == "lease" && node.TTL > 0 { // without one it is not a conductor's
			t.renew(k.IP, node, now)
		}
		if k.Kind == "lease" || k.Kind == "info" && host.IP == "" {
			host.Host = t.read(k.IP, node)
			hosts[k.IP] = host
		}
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
		t.obey(&host)
		if lease, found := t.keys[state.HostLeaseKey(ip)]; !found || lease.TTL == 0 {
			wake = earliest(wake, t.miss(&host, known, now))
		}
		hosts[ip] = host
	}
	return hosts, wake
}

// miss judges a host without a lease. It returns when it will count as lost, zero if it does.
func (t *hostTracker) miss(host *schedule.Host, known, now time.Time) (wake time.Time) {
	lostAt := known.Add(patience)
	host.Silent = known
	if last, heard := t.renewed[host.IP]; heard {
		if host.Silent = last.at; last.at.Add(t.ttl).After(lostAt) {
			lostAt = last.at.Add(t.ttl)
		}
	}
	if now.Before(lostAt) {
		host.Liveness = schedule.Missing
		return lostAt
	}
	host.Liveness, host.Gone = schedule.Lost, lostAt
	return time.Time{}
}

// obey takes in what the operator said of a host.
func (t *hostTracker) obey(host *schedule.Host) {
	host.Availability = state.Availability(t.keys[state.AvailabilityKey(host.IP)].Value)
	var labels map[string]string
	if node, found := t.keys[state.HostLabelsKey(host.IP)]; found && json.Unmarshal([]byte(node.Value), &labels) == nil {
		all := maps.Clone(host.Labels)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, labels)
		host.Labels = all
	}
}

// earliest is the earlier of two times of which zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// words are what a host says of itself, as text and as read.
type words struct {
	text string
	host state.Host
}

func (t *hostTracker) read(ip string, node store.Node) state.Host {
	if known, found := t.words[node.Key]; found && known.text == node.Value {
		return known.host
	}
	host := readHost(ip, node.Value)
	t.words[node.Key] = words{node.Value, host}
	return host
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
