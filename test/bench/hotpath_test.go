//go:build linux

package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/skydns/zone"
)

// BenchmarkLookup finds a service among a thousand.
func BenchmarkLookup(b *testing.B) {
	var entries []zone.Entry
	for n := range 3000 {
		key := state.RecordKey("bench", fmt.Sprintf("web%d", n/3), fmt.Sprintf("i%012x", n))
		entries = append(entries, zone.Entry{Key: key, Value: `{"host": "10.0.0.1", "port": 80, "ttl": 5}`, Modified: 1})
	}
	z, problems := zone.NewBuilder("skydns").Build(&zone.Zone{}, slices.Values(entries), time.Now())
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	for b.Loop() {
		if found := z.Find("web500.bench.skydns.local."); found == nil || found.Len() != 3 {
			b.Fatalf("found %v", found)
		}
	}
}
