package zone_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/skydns/msg"
	"github.com/dokkaa/dokkaa/skydns/zone"
	"pgregory.net/rapid"
)

// entries are keys below /skydns/local/ with their values.
func entries(values map[string]string) []zone.Entry {
	var list []zone.Entry
	for key, value := range values {
		list = append(list, zone.Entry{Key: "/skydns/local/" + key, Value: value, Modified: 1})
	}
	slices.SortFunc(list, func(a, b zone.Entry) int { return strings.Compare(a.Key, b.Key) })
	return list
}

func build(t *testing.T, values map[string]string) *zone.Zone {
	t.Helper()
	z, _ := zone.NewBuilder("skydns").Build(&zone.Zone{}, slices.Values(entries(values)), time.Now())
	return z
}

// lookup returns the records of name and below; ok is false if there is no such name.
func lookup(z *zone.Zone, name string) (records []*zone.Record, ok bool) {
	node := z.Find(name)
	if node == nil {
		return nil, false
	}
	return slices.Collect(node.All()), true
}

func hosts(records []*zone.Record) string {
	var found []string
	for _, r := range records {
		found = append(found, r.Host)
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

func TestNameMeansItsSubtree(t *testing.T) {
	z := build(t, map[string]string{
		"shop/web/i1":         `{"host":"10.0.0.1"}`,
		"shop/web/i2":         `{"host":"10.0.0.2"}`,
		"shop/web-2/i1":       `{"host":"10.0.0.3"}`,
		"shop/db":             `{"host":"10.0.0.4"}`,
		"shop-b/db":           `{"host":"10.0.0.5"}`,
		"blog/web/Up":         `{"host":"10.0.0.6"}`,
		"blog/web/low":        `{"host":"10.0.0.7"}`,
		"blog/Web/cap":        `{"host":"10.0.0.8"}`,
		"blog/api/v1.2":       `{"host":"10.0.0.9"}`,
		"blog/api/broken":     `nonsense`,
		"blog/odd name/\x01x": `{"host":"10.0.0.10"}`,
	})
	for _, c := range []struct {
		name, hosts string
		ok          bool
	}{
		{"i1.web.shop.local.", "10.0.0.1", true},
		{"web.shop.local.", "10.0.0.1 10.0.0.2", true},
		{"WEB.Shop.Local.", "10.0.0.1 10.0.0.2", true},
		{"web-2.shop.local.", "10.0.0.3", true},
		{"shop.local.", "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4", true},
		{"shop-b.local.", "10.0.0.5", true},
		{"web.blog.local.", "10.0.0.6 10.0.0.7 10.0.0.8", true},
		{"up.web.blog.local.", "10.0.0.6", true},
		{"v1.2.api.blog.local.", "10.0.0.9", true},
		{"broken.api.blog.local.", "", true},
		{`\001x.odd\ name.blog.local.`, "10.0.0.10", true},
		{"x.db.shop.local.", "", false},
		{"we.shop.local.", "", false},
		{"eb.shop.local.", "", false},
		{"shop.", "", false},
		{".", "", false},
		{"", "", false},
	} {
		records, ok := lookup(z, c.name)
		if got := hosts(records); strings.TrimSpace(got) != c.hosts || ok != c.ok {
			t.Errorf("Lookup(%q) = %q, %v, want %q, %v", c.name, got, ok, c.hosts, c.ok)
		}
	}
	if z.Len() != 11 {
		t.Errorf("%d records, want 11", z.Len())
	}
}

// Whatever the keys, a name's records are those of the keys below its own.
func TestLookupAgreesWithKeys(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "a-b", "ab", "0", "_x", "-"})
	path := rapid.SliceOfN(label, 1, 4)
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfNDistinct(path, 0, 12, func(p []string) string { return strings.Join(p, "/") }).Draw(t, "keys")
		values := map[string]string{}
		for i, p := range paths {
			values[strings.Join(p, "/")] = fmt.Sprintf(`{"host":"10.0.0.%d"}`, i)
		}
		z, problems := zone.NewBuilder("skydns").Build(&zone.Zone{}, slices.Values(entries(values)), time.Now())
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		asked := path.Draw(t, "asked")
		want := 0
		for _, p := range paths {
			if len(p) >= len(asked) && slices.Equal(p[:len(asked)], asked) {
				want++
			}
		}
		slices.Reverse(asked)
		name := strings.Join(asked, ".") + ".local."
		if records, ok := lookup(z, name); len(records) != want || ok != (want > 0) {
			t.Fatalf("%s: %d records, %v, want %d", name, len(records), ok, want)
		}
	})
}

func TestValuesBecomeRecords(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		title, key, value string
		want              zone.Record
		problem           bool
	}{
		{"address", "a", `{"host":"10.0.0.1","port":80}`, zone.Record{
			Service: msg.Service{Host: "10.0.0.1", Port: 80}, Name: "a.local.", Addr: netip.MustParseAddr("10.0.0.1")}, false},
		{"IPv6 address", "a", `{"host":"2001:db8::1"}`, zone.Record{
			Service: msg.Service{Host: "2001:db8::1"}, Name: "a.local.", Addr: netip.MustParseAddr("2001:db8::1")}, false},
		{"IPv4 in IPv6", "a", `{"host":"::ffff:10.0.0.1"}`, zone.Record{
			Service: msg.Service{Host: "::ffff:10.0.0.1"}, Name: "a.local.", Addr: netip.MustParseAddr("10.0.0.1")}, false},
		{"name", "a", `{"host":"www.example.org"}`, zone.Record{
			Service: msg.Service{Host: "www.example.org"}, Name: "a.local.", Target: "www.example.org."}, false},
		{"text only", "a", `{"text":"hello"}`, zone.Record{Service: msg.Service{Text: "hello"}, Name: "a.local."}, false},
		{"capitals", "Ab", `{}`, zone.Record{Name: "Ab.local."}, false},
		{"label too long", long, `{"host":"10.0.0.1"}`, zone.Record{
			Service: msg.Service{Host: "10.0.0.1"}, Addr: netip.MustParseAddr("10.0.0.1")}, false},
		{"no JSON", "a", `10.0.0.1`, zone.Record{Name: "a.local."}, true},
		{"illegal host", "a", `{"host":"bad..name"}`, zone.Record{Name: "a.local."}, true},
		{"root as host", "a", `{"host":"."}`, zone.Record{Name: "a.local."}, true},
		{"address with zone", "a", `{"host":"fe80::1%eth0"}`, zone.Record{Name: "a.local."}, true},
	} {
		t.Run(c.title, func(t *testing.T) {
			z, problems := zone.NewBuilder("skydns").Build(&zone.Zone{}, slices.Values(entries(map[string]string{c.key: c.value})), time.Now())
			records, ok := lookup(z, "local.")
			if !ok || len(records) != 1 {
				t.Fatalf("records %+v, want one", records)
			}
			r := records[0]
			if got := (zone.Record{Service: r.Service, Name: r.Name, Addr: r.Addr, Target: r.Target}); got != c.want {
				t.Errorf("record %+v, want %+v", got, c.want)
			}
			if want := "/skydns/local/" + c.key; r.Key != want {
				t.Errorf("key %s, want %s", r.Key, want)
			}
			if (len(problems) > 0) != c.problem {
				t.Errorf("problems %v, want %v", problems, c.problem)
			}
		})
	}
}

func TestProblemIsReportedOncePerValue(t *testing.T) {
	b := zone.NewBuilder("skydns")
	bad := zone.Entry{Key: "/skydns/local/a", Value: "nonsense", Modified: 7}
	z, problems := &zone.Zone{}, []zone.Problem(nil)
	for i, want := range []int{1, 0} {
		if z, problems = b.Build(z, slices.Values([]zone.Entry{bad}), time.Now()); len(problems) != want {
			t.Errorf("build %d: problems %v, want %d", i, problems, want)
		}
	}
	if z, problems = b.Apply(z, slices.Values([]zone.Change{{Entry: bad}}), time.Now()); len(problems) != 0 {
		t.Errorf("the same once more: problems %v, want none", problems)
	}
	bad.Modified++
	if _, problems := b.Apply(z, slices.Values([]zone.Change{{Entry: bad}}), time.Now()); len(problems) != 1 {
		t.Errorf("after a change: problems %v, want 1", problems)
	}
}

func TestBuilderForgetsNothingAndKeepsNothing(t *testing.T) {
	b := zone.NewBuilder("skydns")
	now := time.Now()
	first, _ := b.Build(&zone.Zone{}, slices.Values(entries(map[string]string{"a": `{"host":"10.0.0.1"}`, "b": `{"host":"10.0.0.2"}`})), now)
	second, _ := b.Build(first, slices.Values([]zone.Entry{{Key: "/skydns/local/a", Value: `{"host":"10.0.0.3"}`, Modified: 2}}), now)
	if records, _ := lookup(first, "local."); hosts(records) != "10.0.0.1 10.0.0.2" {
		t.Errorf("the first zone changed: %s", hosts(records))
	}
	if records, _ := lookup(second, "local."); hosts(records) != "10.0.0.3" {
		t.Errorf("the second zone has %s", hosts(records))
	}
}

func TestSecondsLeft(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		title string
		ttl   uint32
		left  time.Duration
		want  uint32
	}{
		{"neither", 0, 0, 3600},
		{"own", 30, 0, 30},
		{"own above the default", 7200, 0, 7200},
		{"lease", 0, 10 * time.Second, 10},
		{"lease is shorter", 30, 10 * time.Second, 10},
		{"own is shorter", 5, 10 * time.Second, 5},
		{"lease is over, the store has not said so", 30, -time.Minute, 1},
	} {
		t.Run(c.title, func(t *testing.T) {
			r := zone.Record{Service: msg.Service{TTL: c.ttl}}
			if c.left != 0 {
				r.Expires = now.Add(c.left)
			}
			if got := r.SecondsLeft(now, 3600); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

// The TTL is what was left when the key was read, however often the zone is made again.
func TestLeaseIsNotProlongedByAnotherBuild(t *testing.T) {
	b := zone.NewBuilder("skydns")
	now := time.Now()
	z := &zone.Zone{}
	leased := zone.Entry{Key: "/skydns/local/a", Value: `{"host":"10.0.0.1"}`, Modified: 7, TTL: 10 * time.Second}
	for _, c := range []struct {
		modified uint64
		after    time.Duration
		want     uint32
	}{{7, 0, 10}, {7, 4 * time.Second, 6}, {8, 4 * time.Second, 10}} {
		leased.Modified = c.modified
		z, _ = b.Build(z, slices.Values([]zone.Entry{leased}), now.Add(c.after))
		records, _ := lookup(z, "a.local.")
		if got := records[0].SecondsLeft(now.Add(c.after), 3600); got != c.want {
			t.Errorf("modified %d, after %s: %d seconds are left, want %d", c.modified, c.after, got, c.want)
		}
	}
}
