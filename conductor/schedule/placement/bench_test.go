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

// kinds are manifests that ask for more and more.
var kinds = []struct {
	name     string
	manifest manifest.Manifest
}{
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
