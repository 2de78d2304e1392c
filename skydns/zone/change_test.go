package zone_test

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/skydns/zone"
	"pgregory.net/rapid"
)

// describe tells all that a zone says, in its order.
func describe(z *zone.Zone) string {
	var b strings.Builder
	var tell func(n *zone.Node, depth int)
	tell = func(n *zone.Node, depth int) {
		fmt.Fprintf(&b, "%*s%q %d", depth, "", n.Label(), n.Len())
		for _, r := range n.Records() {
			fmt.Fprintf(&b, " %s=%s", r.Key, r.Host)
		}
		b.WriteString("\n")
		for child := range n.Children() {
			tell(child, depth+1)
		}
	}
	if z.Root() != nil {
		tell(z.Root(), 0)
	}
	return b.String()
}

// Whatever happened to the keys, a zone is as if it had been made of those that are there, and the
// zones before it are as they were.
func TestHistoryLeavesNoTrace(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "B", "a.b", "ab", "0", "_x", "-", "c", "d", "e", "f", "g", "h", "i", "j"})
	path := rapid.Map(rapid.SliceOfN(label, 1, 4), func(p []string) string { return strings.Join(p, "/") })
	rapid.Check(t, func(t *rapid.T) {
		b := zone.NewBuilder("skydns")
		values := map[string]string{}
		z := &zone.Zone{}
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			before, beforeText := z, describe(z)
			var changes []zone.Change
			for _, p := range rapid.SliceOfN(path, 0, 3).Draw(t, "keys") {
				c := zone.Change{Entry: zone.Entry{Key: "/skydns/local/" + p}, Deleted: rapid.Bool().Draw(t, "deleted")}
				delete(values, p)
				if !c.Deleted {
					c.Value, c.Modified = fmt.Sprintf(`{"host":"10.0.0.%d"}`, step), 1
					values[p] = c.Value
				}
				changes = append(changes, c)
			}
			z, _ = b.Apply(z, slices.Values(changes), time.Now())
			anew, _ := zone.NewBuilder("skydns").Build(&zone.Zone{}, slices.Values(entries(values)), time.Now())
			if got, want := describe(z), describe(anew); got != want {
				t.Fatalf("after the changes:\n%s\nmade of %v:\n%s", got, slices.Sorted(maps.Keys(values)), want)
			}
			if z.Len() != len(values) {
				t.Fatalf("%d records, want %d", z.Len(), len(values))
			}
			if got := describe(before); got != beforeText {
				t.Fatalf("the zone before changed:\n%s\nwas\n%s", got, beforeText)
			}
		}
	})
}

func TestChangeSharesTheRest(t *testing.T) {
	b := zone.NewBuilder("skydns")
	first, _ := b.Build(&zone.Zone{}, slices.Values(entries(map[string]string{"a/x": `{"host":"10.0.0.1"}`, "b/x": `{"host":"10.0.0.2"}`})), time.Now())
	changed := zone.Entry{Key: "/skydns/local/a/x", Value: `{"host":"10.0.0.3"}`, Modified: 2}
	second, _ := b.Apply(first, slices.Values([]zone.Change{{Entry: changed}}), time.Now())
	if first.Find("b.local.") != second.Find("b.local.") {
		t.Error("a name that is not above what changed is another")
	}
	for _, name := range []string{"x.a.local.", "a.local.", "local."} {
		if first.Find(name) == second.Find(name) {
			t.Errorf("%s is the same", name)
		}
	}
}

// many are the entries of n instances: three to a service, or all of them of one.
func many(n int, wide bool) []zone.Entry {
	list := make([]zone.Entry, n)
	for i := range list {
		key := fmt.Sprintf("/skydns/local/skydns/app%d/web%d/i%012x", i/300, i/3%100, i)
		if wide {
			key = fmt.Sprintf("/skydns/local/skydns/app/web/i%012x", i)
		}
		list[i] = zone.Entry{Key: key, Modified: 1, Value: fmt.Sprintf(`{"host":"10.%d.%d.%d","port":49153,"ttl":5}`, i>>16, i>>8&255, i&255)}
	}
	return list
}

// BenchmarkBuild makes the zone of 100,000 records.
func BenchmarkBuild(b *testing.B) {
	list := many(100_000, false)
	builder := zone.NewBuilder("skydns")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	z, _ := builder.Build(&zone.Zone{}, slices.Values(list), time.Now())
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		builder.Build(&zone.Zone{}, slices.Values(list), time.Now())
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(z.Len()), "B/record")
}

// BenchmarkApply changes one of 100,000 records.
func BenchmarkApply(b *testing.B) {
	for _, wide := range []bool{false, true} {
		b.Run(fmt.Sprintf("wide=%v", wide), func(b *testing.B) {
			list := many(100_000, wide)
			builder := zone.NewBuilder("skydns")
			z, _ := builder.Build(&zone.Zone{}, slices.Values(list), time.Now())
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := list[i*7919%len(list)]
				e.Modified = uint64(i + 2)
				z, _ = builder.Apply(z, slices.Values([]zone.Change{{Entry: e}}), time.Now())
			}
		})
	}
}

func BenchmarkFindWire(b *testing.B) {
	list := many(100_000, false)
	z, _ := zone.NewBuilder("skydns").Build(&zone.Zone{}, slices.Values(list), time.Now())
	name := []byte("\x05web50\x05App50\x06skydns\x05local\x00")
	b.ReportAllocs()
	for b.Loop() {
		if z.FindWire(name) == nil {
			b.Fatal("not found")
		}
	}
}

func TestFindWireAllocatesNothing(t *testing.T) {
	label := strings.Repeat("x", 63)
	z, _ := zone.NewBuilder("skydns").Build(&zone.Zone{}, slices.Values(entries(map[string]string{label + "/a": "{}"})), time.Now())
	name := []byte("\x01A\x3f" + label + "\x05local\x00")
	if allocated := testing.AllocsPerRun(100, func() {
		if z.FindWire(name) == nil {
			t.Fatal("not found")
		}
	}); allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}
