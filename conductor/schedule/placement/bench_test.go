package placement_test

import (
	"fmt"
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// hosts are n empty ones in three zones.
func hosts(n int) map[string]placement.Host {
	hosts := map[string]placement.Host{}
	for i := range n {
		ip := fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)
		hosts[ip] = placement.Host{IP: ip, Arch: "amd64", CPUs: 16, Memory: 64 << 30, Labels: map[string]string{"zone": string(rune('a' + i%3))}}
	}
	return hosts
}

type kind struct {
	name     string
	manifest manifest.Manifest
}

// kinds are manifests that ask for more and more.
var kinds = []kind{
	{"plain", manifest.Manifest{}},
	{"reserve", manifest.Manifest{Resources: manifest.Resources{Reserve: manifest.Reservation{CPUs: 0.01, Memory: 1 << 20}}}},
	{"constraint", manifest.Manifest{Constraints: []manifest.Condition{{Attribute: "host.labels.zone", Operator: manifest.NotEqual, Value: "a"}}}},
	{"one host", manifest.Manifest{Constraints: []manifest.Condition{{Attribute: "host.ip", Operator: manifest.Equal, Value: "10.0.0.7"}}}},
	{"spread", manifest.Manifest{Spread: []manifest.Spread{{Attribute: "host.labels.zone", Weight: 50}}}},
}

func fill(m *placement.Map, demands []*placement.Demand, each int) (unplaced int) {
	for _, d := range demands {
		for range each {
			ip, _ := m.Pick(d, placement.Options{})
			if ip == "" {
				unplaced++
				continue
			}
			m.Add(d, ip)
		}
	}
	return unplaced
}

func demands(n int, m *manifest.Manifest) []*placement.Demand {
	demands := make([]*placement.Demand, n)
	for i := range demands {
		demands[i] = placement.NewDemand(state.Ref{App: "app", Name: fmt.Sprint("c", i)}, m)
	}
	return demands
}

// BenchmarkCold places fifty instances for each host.
func BenchmarkCold(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		for _, each := range []int{1, 50, 50 * n} {
			for _, kind := range kinds {
				b.Run(fmt.Sprintf("%dhosts/%dx%d/%s", n, 50*n/each, each, kind.name), func(b *testing.B) {
					demands := demands(50*n/each, &kind.manifest)
					hosts := hosts(n)
					for b.Loop() {
						m := placement.NewMap()
						m.SetHosts(hosts)
						if unplaced := fill(m, demands, each); unplaced > 0 {
							b.Fatal(unplaced, "are not placed")
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*50*n), "ns/instance")
				})
			}
		}
	}
}

// full is a map of n hosts, each with fifty instances of plain containers.
func full(n int) (*placement.Map, map[string][]placement.Candidate) {
	m := placement.NewMap()
	m.SetHosts(hosts(n))
	candidates := map[string][]placement.Candidate{}
	for i, d := range demands(n, &manifest.Manifest{}) {
		for slot := range 50 {
			ip, _ := m.Pick(d, placement.Options{})
			m.Add(d, ip)
			candidates[ip] = append(candidates[ip], placement.Candidate{Demand: d, Slot: i*50 + slot})
		}
	}
	return m, candidates
}

// BenchmarkWarm picks one host, adds and removes.
func BenchmarkWarm(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		m, _ := full(n)
		for _, kind := range append(kinds, kind{"no host", manifest.Manifest{Near: []string{"nobody"}}}) {
			b.Run(fmt.Sprintf("%dhosts/%s", n, kind.name), func(b *testing.B) {
				d := demand("one more", kind.manifest)
				for b.Loop() {
					if ip, _ := m.Pick(d, placement.Options{}); ip != "" {
						m.Add(d, ip)
						m.Remove(d, ip)
					}
				}
			})
		}
	}
}

// BenchmarkSetHosts says what is known already.
func BenchmarkSetHosts(b *testing.B) {
	m, same := placement.NewMap(), hosts(1000)
	for b.Loop() {
		m.SetHosts(same)
	}
}

// BenchmarkImprove looks for the next move: when there is none, and when a host has joined.
func BenchmarkImprove(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		m, at := full(n)
		candidates := func(ip string) []placement.Candidate { return at[ip] }
		b.Run(fmt.Sprintf("%dhosts/balanced", n), func(b *testing.B) {
			for b.Loop() {
				if move, ok := m.Improve(candidates); ok {
					b.Fatal(move)
				}
			}
		})
		more := hosts(n)
		more["10.1.0.1"] = placement.Host{}
		m.SetHosts(more)
		b.Run(fmt.Sprintf("%dhosts/joined", n), func(b *testing.B) {
			for b.Loop() {
				if move, ok := m.Improve(candidates); !ok || move.To != "10.1.0.1" {
					b.Fatal(move)
				}
			}
		})
	}
	// Those in zones a and b may not go to c, whose hosts are empty.
	m, at := placement.NewMap(), map[string][]placement.Candidate{}
	m.SetHosts(hosts(1000))
	notC := manifest.Manifest{Constraints: []manifest.Condition{{Attribute: "host.labels.zone", Operator: manifest.NotEqual, Value: "c"}}}
	for i, d := range demands(50000, &notC) {
		ip, _ := m.Pick(d, placement.Options{})
		m.Add(d, ip)
		at[ip] = append(at[ip], placement.Candidate{Demand: d, Slot: i})
	}
	b.Run("1000hosts/constrained", func(b *testing.B) {
		for b.Loop() {
			if move, ok := m.Improve(func(ip string) []placement.Candidate { return at[ip] }); ok {
				b.Fatal(move)
			}
		}
	})
}
