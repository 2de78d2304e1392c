package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/msg"
)

// fleet is a cluster in this process: conductors with a Docker in memory each, and a real etcd.
type fleet struct {
	whole *testing.T // that it lives as long as
	t     *testing.T // that runs now
	etcd  *etcdtest.Cluster
	store *store.Store
	port  int // where the containers' services accept connections
	hosts map[string]*host
}

// newFleet starts etcd and a conductor on each host, one after the other: the first schedules.
func newFleet(t *testing.T, members int, ips ...string) *fleet {
	t.Helper()
	f := &fleet{whole: t, t: t, etcd: etcdtest.Start(t, members), hosts: map[string]*host{}}
	f.store = openStore(t, f.etcd.Endpoints()...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	f.port = listener.Addr().(*net.TCPAddr).Port
	for _, ip := range ips {
		f.add(ip)
	}
	return f
}

// add starts a further host's conductor.
func (f *fleet) add(ip string) *host {
	f.whole.Helper()
	h := &host{fleet: f, ip: ip, docker: newMemoryDocker(f.whole, f.unassigned)}
	for _, member := range f.etcd.Endpoints() {
		h.gates = append(h.gates, newGate(f.whole, member))
	}
	f.hosts[ip] = h
	h.start()
	f.wait(10*time.Second, h.present)
	return h
}

// run runs a part of the test.
func (f *fleet) run(name string, part func(t *testing.T)) {
	f.whole.Run(name, func(t *testing.T) {
		f.t = t
		defer func() { f.t = f.whole }()
		part(t)
	})
}

// wait waits until done returns nil, and returns how long that took.
func (f *fleet) wait(deadline time.Duration, done func() error) time.Duration {
	f.t.Helper()
	started := time.Now()
	etcdtest.WaitFor(f.t, deadline, done)
	return time.Since(started).Round(10 * time.Millisecond)
}

// put writes a container's manifest as a user does. Its one service is named like it.
func (f *fleet) put(name string, scale int) state.Ref {
	f.t.Helper()
	ref := state.Ref{App: "dummy", Name: name}
	manifest := fmt.Sprintf(`{"image": %q, "scale": %d, "services": {%q: %d}, "update": {"min_healthy_time": "0s"}}`, name, scale, name, f.port)
	if _, err := f.store.Set(f.t.Context(), ref.ManifestKey(), manifest, 0); err != nil {
		f.t.Fatal(err)
	}
	return ref
}

// scheduler is the host that schedules.
func (f *fleet) scheduler() *host {
	f.t.Helper()
	var found *host
	f.wait(10*time.Second, func() error {
		node, err := f.store.Get(f.t.Context(), state.SchedulerKey)
		ip, _, _ := strings.Cut(node.Value, " ")
		found = f.hosts[ip]
		return err
	})
	return found
}

// slots are all slots, as they are now.
func (f *fleet) slots() (map[place]state.Slot, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	listing, err := f.store.List(ctx, state.AppsDir)
	if err != nil {
		return nil, err
	}
	all := map[place]state.Slot{}
	for _, node := range listing.Nodes {
		key, ok := state.ParseAppKey(node.Key)
		if !ok || key.Kind != "hosts" {
			continue
		}
		var slot state.Slot
		if err := json.Unmarshal([]byte(node.Value), &slot); err != nil {
			return nil, err
		}
		all[place{key.Ref, key.Item}] = slot
	}
	return all, nil
}

// unassigned returns nil if it is positively known that no slot names the instance.
func (f *fleet) unassigned(instance string) error {
	slots, err := f.slots()
	if err != nil {
		return fmt.Errorf("etcd is not known: %w", err)
	}
	for at, slot := range slots {
		for _, a := range []*state.Assignment{slot.Current, slot.Next} {
			if a != nil && a.Instance == instance {
				return fmt.Errorf("slot %d of %s is assigned to it", at.slot, at.Ref)
			}
		}
	}
	return nil
}

// placed returns nil when every wanted instance runs, and nothing else: one per slot, on the host
// that the slot names, announced in DNS exactly once.
func (f *fleet) placed(want map[state.Ref]int) error {
	slots, err := f.slots()
	if err != nil {
		return err
	}
	runs := map[place][]string{} // "host instance"
	for ip, h := range f.hosts {
		for at, instances := range h.docker.running() {
			for _, id := range instances {
				runs[at] = append(runs[at], ip+" "+id)
			}
		}
	}
	for ref, scale := range want {
		for n := 1; n <= scale; n++ {
			slot := slots[place{ref, n}]
			if slot.Current == nil || slot.Next != nil {
				return fmt.Errorf("slot %d of %s is not at rest: %+v", n, ref, slot)
			}
			if got := runs[place{ref, n}]; !slices.Equal(got, []string{slot.Current.Host + " " + slot.Current.Instance}) {
				return fmt.Errorf("slot %d of %s is %+v, what runs is %v", n, ref, *slot.Current, got)
			}
			delete(slots, place{ref, n})
			delete(runs, place{ref, n})
		}
		if err := f.announced(ref, scale); err != nil {
			return err
		}
	}
	if len(runs) > 0 || len(slots) > 0 {
		return fmt.Errorf("beside what is wanted there are slots %v and running %v", slots, runs)
	}
	return nil
}

// announced returns nil when the service of a container has so many records.
func (f *fleet) announced(ref state.Ref, records int) error {
	if got := f.records(ref); len(got) != records {
		return fmt.Errorf("%s has records on %v, want %d", ref, slices.Sorted(maps.Values(got)), records)
	}
	return nil
}

// records are the hosts that the records of a container's service name, by instance.
func (f *fleet) records(ref state.Ref) map[string]string {
	f.t.Helper()
	listing, err := f.store.List(f.t.Context(), state.RecordsDir+"/"+ref.App+"/"+ref.Name)
	if err != nil {
		f.t.Fatal(err)
	}
	hosts := map[string]string{}
	for _, node := range listing.Nodes {
		var record msg.Service
		if err := json.Unmarshal([]byte(node.Value), &record); err != nil {
			f.t.Error(err)
		}
		hosts[node.Key[strings.LastIndexByte(node.Key, '/')+1:]] = record.Host
	}
	return hosts
}

// assigned is the host and instance of each slot.
func (f *fleet) assigned() map[place]string {
	f.t.Helper()
	slots, err := f.slots()
	if err != nil {
		f.t.Fatal(err)
	}
	all := map[place]string{}
	for at, slot := range slots {
		all[at] = "nowhere"
		if slot.Current != nil {
			all[at] = slot.Current.Host + " " + slot.Current.Instance
		}
	}
	return all
}

// unused returns nil if no slot names the host.
func (f *fleet) unused(ip string) error {
	slots, err := f.slots()
	if err != nil {
		return err
	}
	for at, slot := range slots {
		for _, a := range []*state.Assignment{slot.Current, slot.Next} {
			if a != nil && a.Host == ip {
				return fmt.Errorf("slot %d of %s is assigned to %s", at.slot, at.Ref, ip)
			}
		}
	}
	return nil
}

// unmoved checks that every slot that was assigned still is, and to the same instance.
func (f *fleet) unmoved(before map[place]string) {
	f.t.Helper()
	after := f.assigned()
	for at, was := range before {
		if is := after[at]; is != was {
			f.t.Errorf("slot %d of %s was %s and is %s", at.slot, at.Ref, was, is)
		}
	}
}

// stops is how often anything was stopped on any host.
func (f *fleet) stops() int {
	n := 0
	for _, h := range f.hosts {
		n += h.docker.stops()
	}
	return n
}
