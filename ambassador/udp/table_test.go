package udp

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// newDoor is a door whose flows have no calls.
func newDoor(t *table) *door {
	return &door{server: &Server{Settings: Settings{Call: func(netip.AddrPort, int) Call { return nil }}, table: t}}
}

func from(host, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 30, 0, byte(host)}), uint16(port))
}

func TestOneFlowForEachSourceAndDoor(t *testing.T) {
	table := newTable(10, 10)
	a, b, now := newDoor(table), newDoor(table), time.Now()
	first, _ := table.get(a, from(1, 1), now)
	for name, other := range map[string]key{"port": {a, from(1, 2)}, "address": {a, from(2, 1)}, "door": {b, from(1, 1)}} {
		if f, _ := table.get(other.door, other.source, now); f == first {
			t.Errorf("another %s has the same flow", name)
		}
	}
	if f, _ := table.get(a, from(1, 1), now); f != first {
		t.Error("the same source has another flow")
	}
}

func TestTheQuietestGivesWay(t *testing.T) {
	table := newTable(10, 3)
	d, now := newDoor(table), time.Now()
	for port := range 3 {
		table.get(d, from(1, port), now.Add(time.Duration(port)))
	}
	table.get(d, from(1, 0), now.Add(10))
	busy, _ := table.get(d, from(1, 1), now)
	table.touch(busy, now.Add(20)) // by a reply
	if _, evicted := table.get(d, from(1, 3), now.Add(30)); evicted == nil || evicted.source != from(1, 2) {
		t.Errorf("evicted %+v", evicted)
	}
	if _, evicted := table.get(d, from(1, 4), now.Add(40)); evicted == nil || evicted.source != from(1, 0) {
		t.Errorf("then evicted %+v", evicted)
	}
}

func TestANewcomerTakesThePlaceOfTheQuietestOfAll(t *testing.T) {
	table := newTable(4, 3)
	d, now := newDoor(table), time.Now()
	for i, source := range []netip.AddrPort{from(2, 1), from(1, 1), from(1, 2), from(1, 3)} {
		table.get(d, source, now.Add(time.Duration(i)))
	}
	if _, evicted := table.get(d, from(3, 1), now.Add(10)); evicted == nil || evicted.source != from(2, 1) {
		t.Errorf("evicted %+v", evicted)
	}
}

// TestTheTableKeepsItsLimits holds any history of flows to the rules.
func TestTheTableKeepsItsLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most, share := rapid.IntRange(1, 8).Draw(t, "max"), rapid.IntRange(1, 5).Draw(t, "share")
		table := newTable(most, share)
		d := newDoor(table)
		live, now := map[*flow]bool{}, time.Now()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Second)
			source := from(rapid.IntRange(1, 4).Draw(t, "host"), rapid.IntRange(1, 6).Draw(t, "port"))
			had := 0
			for f := range live {
				if f.source.Addr() == source.Addr() {
					had++
				}
			}
			f, evicted := table.get(d, source, now)
			if evicted != nil {
				if had > 0 && evicted.source.Addr() != source.Addr() {
					t.Fatal("another's flow gave way though the source has some")
				}
				if had < share && len(live) < most {
					t.Fatal("evicted though there was room")
				}
				if evicted == f || !live[evicted] {
					t.Fatal("evicted is not a flow that was there")
				}
				delete(live, evicted)
				table.leave(evicted)
			}
			live[f] = true
			if rapid.IntRange(0, 4).Draw(t, "end") == 0 {
				table.remove(f)
				table.leave(f)
				delete(live, f)
			}
			of := map[netip.Addr]int{}
			for f := range live {
				of[f.source.Addr()]++
			}
			for addr, n := range of {
				if n > share || table.bySource[addr].Len() != n {
					t.Fatalf("%s has %d flows", addr, n)
				}
			}
			if len(live) > most || len(table.flows) != len(live) || len(table.bySource) != len(of) || d.flows != len(live) {
				t.Fatalf("%d flows live, the table has %d of %d sources, the door %d", len(live), len(table.flows), len(table.bySource), d.flows)
			}
		}
	})
}
