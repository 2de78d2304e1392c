package conductor

import (
	"maps"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	hostA = "10.0.0.1"
	hostB = "10.0.0.2"
	ttl   = 8 * time.Second
)

// epoch is when the tests' clock begins.
var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// second is a moment of the tests' clock.
func second(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

// leaseOf and infoOf are a host's keys as the store sends them.
func leaseOf(ip string, modified uint64, remaining time.Duration) store.Node {
	return store.Node{Key: state.HostLeaseKey(ip), Value: `{"ip":"` + ip + `","labels":{"zone":"a"}}`, Modified: modified, TTL: remaining}
}

func infoOf(ip string) store.Node {
	return store.Node{Key: state.HostInfoKey(ip), Value: `{"ip":"` + ip + `"}`, Modified: 1}
}

// look is one look at the hosts: when, what the store has then and since when it is known.
type look struct {
	at, since float64
	nodes     []store.Node
	want      map[string]schedule.Liveness
	wake      float64 // 0 for none
}

// TestLiveness holds the tracker to the promise that a host counts as lost only when its key is gone
// and our own clock saw no renewal for the lease's time.
func TestLiveness(t *testing.T) {
	alive, missing, lost := schedule.Alive, schedule.Missing, schedule.Lost
	type hosts = map[string]schedule.Liveness
	both := []store.Node{leaseOf(hostA, 5, ttl), infoOf(hostA)}
	gone := []store.Node{infoOf(hostA)}
	for name, looks := range map[string][]look{
		"leased hosts are alive": {
			{nodes: []store.Node{leaseOf(hostA, 5, ttl), infoOf(hostA), leaseOf(hostB, 6, ttl)}, want: hosts{hostA: alive, hostB: alive}},
		},
		"a lease whose key stays is alive however long ago it was renewed": {
			{nodes: both, want: hosts{hostA: alive}},
			{at: 100, nodes: both, want: hosts{hostA: alive}},
		},
		"a host whose key is gone is missing until the lease's time has passed here": {
			{nodes: both, want: hosts{hostA: alive}},
			{at: 5, nodes: gone, want: hosts{hostA: missing}, wake: 8},
			{at: 7.999, nodes: gone, want: hosts{hostA: missing}, wake: 8},
			{at: 8, nodes: gone, want: hosts{hostA: lost}},
		},
		"the time runs from the last renewal": {
			{nodes: both, want: hosts{hostA: alive}},
			{at: 2, nodes: []store.Node{leaseOf(hostA, 7, ttl), infoOf(hostA)}, want: hosts{hostA: alive}},
			{at: 4, nodes: []store.Node{leaseOf(hostA, 7, ttl), infoOf(hostA)}, want: hosts{hostA: alive}},
			{at: 9, nodes: gone, want: hosts{hostA: missing}, wake: 10},
			{at: 10, nodes: gone, want: hosts{hostA: lost}},
		},
		"a new scheduler takes the age of a lease from what remains of it": {
			{at: 10, nodes: []store.Node{leaseOf(hostA, 5, 3*time.Second), infoOf(hostA)}, want: hosts{hostA: alive}},
			{at: 11, nodes: gone, want: hosts{hostA: missing}, wake: 13},
			{at: 13, nodes: gone, want: hosts{hostA: lost}},
		},
		"a lease without an end is no conductor's": {
			{at: 10, nodes: []store.Node{leaseOf(hostA, 5, 0)}, want: hosts{hostA: lost}},
		},
		"a new scheduler that sees no lease has patience from its first read on": {
			{at: 20, since: 20, nodes: gone, want: hosts{hostA: missing}, wake: 24},
			{at: 23.999, since: 20, nodes: gone, want: hosts{hostA: missing}, wake: 24},
			{at: 24, since: 20, nodes: gone, want: hosts{hostA: lost}},
		},
		"after an outage hosts get patience again": {
			{nodes: both, want: hosts{hostA: alive}},
			{at: 60, since: 60, nodes: gone, want: hosts{hostA: missing}, wake: 64},
			{at: 64, since: 60, nodes: gone, want: hosts{hostA: lost}},
		},
		"even a host that was lost before the outage": {
			{nodes: both, want: hosts{hostA: alive}},
			{at: 20, nodes: gone, want: hosts{hostA: lost}},
			{at: 60, since: 60, nodes: gone, want: hosts{hostA: missing}, wake: 64},
		},
		"after a short outage the lease's time counts, not the patience": {
			{nodes: both, want: hosts{hostA: alive}},
			{at: 2, since: 2, nodes: gone, want: hosts{hostA: missing}, wake: 8},
		},
		"a host that returns is alive, and its time begins anew": {
			{nodes: both, want: hosts{hostA: alive}},
			{at: 20, nodes: gone, want: hosts{hostA: lost}},
			{at: 21, nodes: []store.Node{leaseOf(hostA, 9, ttl), infoOf(hostA)}, want: hosts{hostA: alive}},
			{at: 28, nodes: gone, want: hosts{hostA: missing}, wake: 29},
		},
		"the first that will be lost is the one to wake for": {
			{nodes: []store.Node{leaseOf(hostA, 5, ttl), infoOf(hostA), leaseOf(hostB, 6, ttl), infoOf(hostB)}, want: hosts{hostA: alive, hostB: alive}},
			{at: 3, nodes: []store.Node{leaseOf(hostA, 8, ttl), infoOf(hostA), leaseOf(hostB, 6, ttl), infoOf(hostB)}, want: hosts{hostA: alive, hostB: alive}},
			{at: 7, nodes: []store.Node{infoOf(hostA), infoOf(hostB)}, want: hosts{hostA: missing, hostB: missing}, wake: 8},
			{at: 8, nodes: []store.Node{infoOf(hostA), infoOf(hostB)}, want: hosts{hostA: missing, hostB: lost}, wake: 11},
		},
		"a host of which nothing is left is lost like any other, and then forgotten": {
			{nodes: []store.Node{leaseOf(hostA, 5, ttl)}, want: hosts{hostA: alive}},
			{at: 5, want: hosts{hostA: missing}, wake: 8},
			{at: 20, want: hosts{hostA: lost}},
			{at: 70, want: hosts{}},
		},
		"what a lost host observed does not make it one": {
			{nodes: []store.Node{{Key: state.InstanceKey(hostA, "iaaaaaaaaaaaa"), Value: `{}`}}, want: hosts{}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tracker := newHostTracker(ttl)
			for _, l := range looks {
				snapshot := store.NewSnapshot(9, l.nodes...)
				snapshot.Since = second(l.since)
				if l.since == 0 {
					snapshot.Since = second(-1000)
				}
				tracker.follow(snapshot, nil, true)
				observed, wake := tracker.observe(snapshot.Since, second(l.at))
				got := hosts{}
				for ip, host := range observed {
					got[ip] = host.Liveness
				}
				if !maps.Equal(got, l.want) {
					t.Errorf("at %v s: %v, want %v", l.at, got, l.want)
				}
				want := time.Time{}
				if l.wake > 0 {
					want = second(l.wake)
				}
				if !wake.Equal(want) {
					t.Errorf("at %v s: wake at %v, want %v s", l.at, wake.Sub(epoch), l.wake)
				}
			}
		})
	}
}

func TestHostsOwnWords(t *testing.T) {
	lease := store.Node{Key: state.HostLeaseKey(hostA), Value: `{"ip":"10.9.9.9","labels":{"zone":"b"},"condition":"full","future":1}`, Modified: 3, TTL: ttl}
	info := store.Node{Key: state.HostInfoKey(hostA), Value: `{"labels":{"zone":"old"}}`}
	broken := store.Node{Key: state.HostLeaseKey(hostB), Value: `{"labels":`, Modified: 4, TTL: ttl}
	hosts := judge(lease, info, broken)
	if a := hosts[hostA]; a.IP != hostA || a.Labels["zone"] != "b" || a.Condition != "full" {
		t.Errorf("a lease says more than what is remembered of the host, but not its address: %+v", a)
	}
	if b, there := hosts[hostB]; !there || b.IP != hostB || b.Liveness != schedule.Alive {
		t.Errorf("a host whose lease cannot be read is a host all the same: %+v", b)
	}
	hosts = judge(info)
	if a := hosts[hostA]; a.Labels["zone"] != "old" {
		t.Errorf("nothing is remembered of a host without a lease: %+v", a)
	}
}

// judge is what a tracker holds of hosts that it sees for the first time.
func judge(nodes ...store.Node) map[string]schedule.Host {
	tracker := newHostTracker(ttl)
	tracker.follow(store.NewSnapshot(9, nodes...), nil, true)
	hosts, _ := tracker.observe(epoch, epoch)
	return hosts
}

func TestOperatorsWords(t *testing.T) {
	hosts := judge(leaseOf(hostA, 5, ttl), store.Node{Key: state.AvailabilityKey(hostA), Value: "drain"},
		store.Node{Key: state.HostLabelsKey(hostA), Value: `{"zone":"b","disk":"ssd"}`},
		store.Node{Key: state.AvailabilityKey(hostB), Value: "drain"})
	a := hosts[hostA]
	if want := map[string]string{"zone": "b", "disk": "ssd"}; a.Availability != state.Drained || !maps.Equal(a.Labels, want) {
		t.Errorf("a host that the operator labelled and drains: %+v", a)
	}
	if _, known := hosts[hostB]; known {
		t.Error("what is said of a host does not make it one")
	}
}
