package placement_test

import (
	"testing"

	"github.com/dokkaa/dokkaa/conductor/schedule/placement"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

func demand(name string, m manifest.Manifest) *placement.Demand {
	return placement.NewDemand(state.Ref{App: "app", Name: name}, &m)
}

// three hosts: 10.0.0.1 and 10.0.0.2 in zone a, 10.0.0.3 in zone b.
func three() map[string]placement.Host {
	host := func(zone string) placement.Host {
		return placement.Host{Arch: "amd64", CPUs: 2, Memory: 1 << 30, Labels: map[string]string{"zone": zone}}
	}
	return map[string]placement.Host{"10.0.0.1": host("a"), "10.0.0.2": host("a"), "10.0.0.3": host("b")}
}

func condition(attribute string, op manifest.Operator, value string) manifest.Condition {
	return manifest.Condition{Attribute: attribute, Operator: op, Value: value}
}

func TestPick(t *testing.T) {
	const a, b, c = "10.0.0.1", "10.0.0.2", "10.0.0.3"
	zoneB := condition("host.labels.zone", manifest.Equal, "b")
	reserve := func(cpus float64, memory int64) manifest.Resources {
		return manifest.Resources{Reserve: manifest.Reservation{CPUs: cpus, Memory: memory}}
	}
	port := map[string]manifest.Service{"web": {Port: 80, HostPort: 8080}}
	for _, test := range []struct {
		name  string
		has   map[string][]*placement.Demand // by host
		hosts func(hosts map[string]placement.Host)
		ask   manifest.Manifest
		opts  placement.Options
		want  string // host or refusals
	}{
		{name: "the first of equals", want: a},
		{name: "the emptiest", has: map[string][]*placement.Demand{a: {demand("x", manifest.Manifest{})}}, want: b},
		{name: "copies apart before totals", has: map[string][]*placement.Demand{
			a: {demand("web", manifest.Manifest{})}, b: {demand("web", manifest.Manifest{})},
			c: {demand("x", manifest.Manifest{}), demand("y", manifest.Manifest{})}}, want: c},
		{name: "most resources free", has: map[string][]*placement.Demand{
			a: {demand("x", manifest.Manifest{Resources: reserve(1, 0)})}, b: {demand("y", manifest.Manifest{Resources: reserve(.5, 0)})},
			c: {demand("z", manifest.Manifest{Resources: reserve(0, 900<<20)})}}, want: b},
		{name: "constraint", ask: manifest.Manifest{Constraints: []manifest.Condition{zoneB}}, want: c},
		{name: "no such host", ask: manifest.Manifest{Constraints: []manifest.Condition{zoneB, condition("host.arch", manifest.Equal, "arm64")}},
			want: "no suitable host (2: constraint host.labels.zone == b, 1: constraint host.arch == arm64)"},
		{name: "affinity before totals", has: map[string][]*placement.Demand{c: {demand("x", manifest.Manifest{})}},
			ask: manifest.Manifest{Affinities: []manifest.Affinity{{Condition: zoneB, Weight: 50}}}, want: c},
		{name: "negative affinity", has: map[string][]*placement.Demand{c: {demand("x", manifest.Manifest{})}},
			ask: manifest.Manifest{Affinities: []manifest.Affinity{{Condition: condition("host.labels.zone", manifest.Equal, "a"), Weight: -50}}}, want: c},
		{name: "weak affinity beside a strong one is noise", ask: manifest.Manifest{Affinities: []manifest.Affinity{
			{Condition: condition("host.arch", manifest.Equal, "amd64"), Weight: 100}, {Condition: zoneB, Weight: 5}}}, want: a},
		{name: "spread", has: map[string][]*placement.Demand{a: {demand("web", manifest.Manifest{})}, c: {demand("x", manifest.Manifest{})}},
			ask: manifest.Manifest{Spread: []manifest.Spread{{Attribute: "host.labels.zone", Weight: 50}}}, want: c},
		{name: "max_per_host", has: map[string][]*placement.Demand{a: {demand("web", manifest.Manifest{})}, b: {demand("web", manifest.Manifest{})}, c: {demand("web", manifest.Manifest{})}},
			ask: manifest.Manifest{MaxPerHost: 1}, want: "no suitable host (3: max_per_host)"},
		{name: "near", has: map[string][]*placement.Demand{b: {demand("db", manifest.Manifest{})}}, ask: manifest.Manifest{Near: []string{"db"}}, want: b},
		{name: "near nobody", ask: manifest.Manifest{Near: []string{"db"}}, want: "no suitable host (3: near db)"},
		{name: "apart", has: map[string][]*placement.Demand{a: {demand("db", manifest.Manifest{})}, b: {demand("x", manifest.Manifest{}), demand("y", manifest.Manifest{})}, c: {demand("db", manifest.Manifest{})}},
			ask: manifest.Manifest{Apart: []string{"db"}}, want: b},
		{name: "shunned", has: map[string][]*placement.Demand{a: {demand("db", manifest.Manifest{Apart: []string{"web"}})}}, want: b},
		{name: "shunned everywhere", has: map[string][]*placement.Demand{
			a: {demand("db", manifest.Manifest{Apart: []string{"web"}})}, b: {demand("db", manifest.Manifest{Apart: []string{"web"}})}, c: {demand("aa", manifest.Manifest{Apart: []string{"web"}})}},
			want: "no suitable host (2: apart from db, 1: apart from aa)"},
		{name: "host port", has: map[string][]*placement.Demand{a: {demand("x", manifest.Manifest{Services: port})}}, ask: manifest.Manifest{Services: port}, want: b},
		{name: "host port taken", has: map[string][]*placement.Demand{
			a: {demand("x", manifest.Manifest{Services: port})}, b: {demand("x", manifest.Manifest{Services: port})}, c: {demand("x", manifest.Manifest{Services: port})}},
			ask: manifest.Manifest{Services: port}, want: "no suitable host (3: host port 8080)"},
		{name: "resources", has: map[string][]*placement.Demand{a: {demand("x", manifest.Manifest{Resources: reserve(1.5, 0)})}, b: {demand("x", manifest.Manifest{Resources: reserve(0, 1<<30)})}},
			hosts: func(hosts map[string]placement.Host) { hosts[c] = placement.Host{Refuses: "disk is full"} },
			ask:   manifest.Manifest{Resources: reserve(1, 1)}, want: "no suitable host (1: cpus, 1: disk is full, 1: memory)"},
		{name: "resources that are not known", has: map[string][]*placement.Demand{c: {demand("x", manifest.Manifest{Resources: reserve(100, 1<<40)})}},
			hosts: func(hosts map[string]placement.Host) { hosts[c] = placement.Host{} },
			ask:   manifest.Manifest{Resources: reserve(3, 1)}, want: c},
		{name: "an exact fit", has: map[string][]*placement.Demand{a: {demand("x", manifest.Manifest{Resources: reserve(.1, 0)}), demand("y", manifest.Manifest{Resources: reserve(.2, 0)})}},
			opts: placement.Options{Only: []string{a}}, ask: manifest.Manifest{Resources: reserve(1.7, 0)}, want: a},
		{name: "only", opts: placement.Options{Only: []string{c, b}, Else: "volume data is elsewhere"}, want: b},
		{name: "only one that is lost", hosts: func(hosts map[string]placement.Host) { hosts[b] = placement.Host{Refuses: "lost"} },
			opts: placement.Options{Only: []string{b}, Else: "volume data is on 10.0.0.2"}, want: "no suitable host (2: volume data is on 10.0.0.2, 1: lost)"},
		{name: "only none", opts: placement.Options{Only: []string{}, Else: "there is no volume data"}, want: "no suitable host (3: there is no volume data)"},
		{name: "exclude", opts: placement.Options{Exclude: map[string]string{a: "it failed there"}}, want: b},
		{name: "instead of a copy in its zone", has: map[string][]*placement.Demand{
			a: {demand("web", manifest.Manifest{})}, b: {demand("x", manifest.Manifest{})}, c: {demand("web", manifest.Manifest{})}},
			ask:  manifest.Manifest{Spread: []manifest.Spread{{Attribute: "host.labels.zone", Weight: 50}}},
			opts: placement.Options{Instead: a, Exclude: map[string]string{a: "drained"}}, want: b},
		{name: "no hosts", hosts: func(hosts map[string]placement.Host) { clear(hosts) }, want: "no suitable host (no host has joined)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, hosts := placement.NewMap(), three()
			if test.hosts != nil {
				test.hosts(hosts)
			}
			m.SetHosts(hosts)
			for ip, has := range test.has {
				for _, d := range has {
					m.Add(d, ip)
				}
			}
			got, refusals := m.Pick(demand("web", test.ask), test.opts)
			if got == "" {
				got = refusals.String()
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	for _, test := range []struct {
		c    manifest.Condition
		want bool
	}{
		{condition("host.ip", manifest.Equal, "10.0.0.1"), true},
		{condition("host.arch", manifest.NotEqual, "arm64"), true},
		{condition("host.labels.none", manifest.Equal, ""), true},
		{condition("host.labels.none", manifest.NotEqual, "x"), true},
		{condition("host.labels.none", manifest.IsSet, ""), false},
		{condition("host.labels.none", manifest.IsNotSet, ""), true},
		{condition("host.labels.empty", manifest.IsSet, ""), true},
		{condition("host.labels.disk", manifest.Matches, "^ss"), true},
		{condition("host.labels.disk", manifest.Matches, "d$"), true},
		{condition("host.labels.disk", manifest.Matches, "hdd"), false},
		{condition("host.labels.disk", manifest.Matches, "("), false},
		{condition("host.labels.n", manifest.Greater, "9"), true}, // 10: as text it were less
		{condition("host.labels.n", manifest.GreaterOrEqual, "10.0"), true},
		{condition("host.labels.n", manifest.Equal, "10.0"), false},
		{condition("host.labels.n", manifest.Less, "9a"), true}, // as text
		{condition("host.labels.n", manifest.LessOrEqual, "9"), false},
		{condition("host.labels.nan", manifest.GreaterOrEqual, "nan"), true}, // text
		{condition("host.rack", manifest.Equal, "1"), false},
		{condition("host.ip", "??", "10.0.0.1"), false},
	} {
		m := placement.NewMap()
		m.SetHosts(map[string]placement.Host{"10.0.0.1": {Arch: "amd64", Labels: map[string]string{"disk": "ssd", "n": "10", "empty": "", "nan": "nan"}}})
		ip, _ := m.Pick(demand("web", manifest.Manifest{Constraints: []manifest.Condition{test.c}}), placement.Options{})
		if got := ip != ""; got != test.want {
			t.Errorf("%s: got %v", test.c, got)
		}
	}
}

func TestFits(t *testing.T) {
	m, hosts := placement.NewMap(), three()
	m.SetHosts(hosts)
	web := demand("web", manifest.Manifest{
		Constraints: []manifest.Condition{condition("host.labels.zone", manifest.Equal, "a")}, MaxPerHost: 1,
		Near: []string{"db"}, Apart: []string{"noisy"}, Resources: manifest.Resources{Reserve: manifest.Reservation{CPUs: 2}},
		Services: map[string]manifest.Service{"web": {Port: 80, HostPort: 80}},
	})
	fits := func(ip, want string) {
		t.Helper()
		if got := m.Fits(web, ip); got != want {
			t.Errorf("on %s: got %q, want %q", ip, got, want)
		}
	}
	db, noisy := demand("db", manifest.Manifest{}), demand("noisy", manifest.Manifest{})
	m.Add(db, "10.0.0.1")
	m.Add(web, "10.0.0.1")
	fits("10.0.0.1", "") // it is not in its own way
	fits("10.0.0.2", "near db")
	fits("10.0.0.3", "constraint host.labels.zone == a")
	fits("10.0.0.4", "") // nothing is known of it
	m.Add(noisy, "10.0.0.1")
	fits("10.0.0.1", "apart from noisy")
	if got := m.Fits(noisy, "10.0.0.1"); got != "" {
		t.Errorf("who is shunned should stay, but: %s", got)
	}
	m.Remove(noisy, "10.0.0.1")
	host := hosts["10.0.0.1"]
	host.Refuses = "drained"
	hosts["10.0.0.1"] = host
	m.SetHosts(hosts)
	fits("10.0.0.1", "")
	host.Labels = map[string]string{"zone": "c"}
	hosts["10.0.0.1"] = host
	m.SetHosts(hosts)
	fits("10.0.0.1", "constraint host.labels.zone == a")
}

// TestSetHosts changes one thing of a host at a time.
func TestSetHosts(t *testing.T) {
	d := demand("web", manifest.Manifest{
		Constraints: []manifest.Condition{condition("host.arch", manifest.Equal, "amd64"), condition("host.labels.zone", manifest.Equal, "a")},
		Resources:   manifest.Resources{Reserve: manifest.Reservation{CPUs: 1, Memory: 1}},
	})
	m := placement.NewMap()
	for _, test := range []struct {
		host placement.Host
		want string
	}{
		{placement.Host{Arch: "amd64", Labels: map[string]string{"zone": "a"}, CPUs: 1, Memory: 1}, ""},
		{placement.Host{Arch: "amd64", Labels: map[string]string{"zone": "a"}, CPUs: .5, Memory: 1}, "cpus"},
		{placement.Host{Arch: "amd64", Labels: map[string]string{"zone": "a"}, CPUs: 1, Memory: 1}, ""},
		{placement.Host{Arch: "amd64", Labels: map[string]string{"zone": "b"}, CPUs: 1, Memory: 1}, "constraint host.labels.zone == a"},
		{placement.Host{Arch: "arm64", Labels: map[string]string{"zone": "b"}, CPUs: 1, Memory: 1}, "constraint host.arch == amd64"},
		{placement.Host{Arch: "amd64", Labels: map[string]string{"zone": "b"}, CPUs: 1, Memory: 1}, "constraint host.labels.zone == a"},
		{placement.Host{Arch: "amd64", Labels: map[string]string{"zone": "a"}, CPUs: 1, Memory: 1, Refuses: "drained"}, "drained"},
		{placement.Host{Arch: "amd64", Labels: map[string]string{"zone": "a"}, CPUs: 1, Memory: 1}, ""},
	} {
		m.SetHosts(map[string]placement.Host{"10.0.0.1": test.host})
		if got := m.Takes(d, "10.0.0.1"); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.host, got, test.want)
		}
	}
	m.SetHosts(nil)
	if got := m.Takes(d, "10.0.0.1"); got != "it is not in the cluster" {
		t.Errorf("a host that left: %q", got)
	}
}
