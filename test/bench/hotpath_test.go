//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/schedule"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
	"github.com/dokkaa/dokkaa/skydns/zone"
)

// world is a cluster at rest: as many containers as hosts, with three instances each.
type world struct {
	keys  map[string]schedule.Node
	hosts map[string]schedule.Host
	index uint64
	ids   int
}

func newWorld(b *testing.B, hosts int) *world {
	b.Helper()
	w := &world{keys: map[string]schedule.Node{}, hosts: map[string]schedule.Host{}}
	ip := netip.MustParseAddr("10.0.0.0")
	for n := range hosts {
		ip = ip.Next()
		w.hosts[ip.String()] = schedule.Host{Host: state.Host{IP: ip.String()}}
		name := fmt.Sprintf("web%d", n)
		w.put(state.Ref{App: "bench", Name: name}.ManifestKey(), web(name, 3))
	}
	for range 10 {
		changes := schedule.Compute(w.input())
		if len(changes) == 0 {
			return w
		}
		for _, change := range changes {
			w.put(change.Key, change.Value)
		}
	}
	b.Fatal("the world does not come to rest")
	return nil
}

func (w *world) put(key, value string) {
	w.index++
	created := w.index
	if old, there := w.keys[key]; there {
		created = old.Created
	}
	w.keys[key] = schedule.Node{Key: key, Value: value, Created: created, Modified: w.index}
}

// input is what the scheduler sees: every instance that was assigned is healthy.
func (w *world) input() schedule.Input {
	in := schedule.Input{Hosts: w.hosts, Observed: map[string]schedule.Observed{}, NewID: func() string {
		w.ids++
		return fmt.Sprintf("i%012x", w.ids)
	}}
	in.Apps = schedule.ReadApps(func(yield func(schedule.Node) bool) {
		for _, n := range w.keys {
			if !yield(n) {
				return
			}
		}
	})
	for ref, app := range in.Apps {
		for n, slot := range app.Slots {
			if a := slot.Current; a != nil && w.hosts[a.Host].Liveness == schedule.Alive {
				in.Observed[a.Instance] = schedule.Observed{Host: a.Host, Observed: state.Observed{Ref: ref, Slot: n, Revision: a.Revision, Phase: state.PhaseHealthy}}
			}
		}
	}
	return in
}

// BenchmarkCompute is a scheduler's pass: one that finds nothing to do, and one after a host was lost.
func BenchmarkCompute(b *testing.B) {
	for _, hosts := range []int{10, 100, 1000} {
		w := newWorld(b, hosts)
		for _, lost := range []bool{false, true} {
			name := "at rest"
			if lost {
				name = "host lost"
				w.hosts["10.0.0.1"] = schedule.Host{Host: state.Host{IP: "10.0.0.1"}, Liveness: schedule.Lost}
			}
			in := w.input()
			b.Run(fmt.Sprintf("%d hosts/%s", hosts, name), func(b *testing.B) {
				for b.Loop() {
					if changes := schedule.Compute(in); (len(changes) > 0) != lost {
						b.Fatalf("%d changes", len(changes))
					}
				}
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text := []byte(hurried)
	for b.Loop() {
		if _, err := manifest.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookup finds a service among a thousand.
func BenchmarkLookup(b *testing.B) {
	var entries []zone.Entry
	for n := range 3000 {
		key := state.RecordKey("bench", fmt.Sprintf("web%d", n/3), fmt.Sprintf("i%012x", n))
		entries = append(entries, zone.Entry{Key: key, Value: `{"host": "10.0.0.1", "port": 80, "ttl": 5}`, Modified: 1})
	}
	z, problems := zone.NewBuilder("skydns").Build(slices.Values(entries), time.Now())
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	for b.Loop() {
		if found, ok := z.Lookup("web500.bench.skydns.local."); !ok || len(found) != 3 {
			b.Fatalf("found %v", found)
		}
	}
}
