package kernel

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var (
	ownAddr   = netip.MustParseAddr("10.0.0.1")
	otherHost = netip.MustParseAddrPort("10.0.0.2:32768")
	here      = netip.MustParseAddrPort("10.0.0.1:32768")
	within    = Inside{netip.MustParseAddrPort("172.30.0.4:80"), 9}
)

func TestPlan(t *testing.T) {
	host := Host{Addrs: []netip.Addr{ownAddr}, Published: map[netip.AddrPort]Inside{here: within}, Inward: true}
	away := host
	away.Inward, away.Why = false, "Docker does not let them"
	caller := Caller{Port: 5, Addr: netip.MustParseAddr("172.30.0.2"), Links: map[uint16]string{10001: "shop"}}
	for _, test := range []struct {
		name      string
		host      Host
		caller    Caller
		why       string
		endpoints []Endpoint
		want      []Share // none: it is not the kernel's
		reason    string
	}{
		{name: "another host's", host: host, caller: caller, endpoints: []Endpoint{{otherHost, 10, 25}},
			want: []Share{{otherHost, Inside{Addr: otherHost}, 25}}},
		{name: "this host's", host: host, caller: caller, endpoints: []Endpoint{{here, 10, 25}},
			want: []Share{{here, within, 25}}},
		{name: "in order, and once", host: host, caller: caller, endpoints: []Endpoint{{otherHost, 10, 0}, {here, 10, 25}, {otherHost, 10, 0}},
			want: []Share{{here, within, 25}, {otherHost, Inside{Addr: otherHost}, 1}}},
		{name: "of the best priority", host: host, caller: caller, endpoints: []Endpoint{{otherHost, 20, 1}, {here, 10, 1}},
			want: []Share{{here, within, 1}}},
		{name: "this host's, whose containers are kept apart", host: away, caller: caller,
			endpoints: []Endpoint{{otherHost, 10, 25}, {here, 10, 25}}, reason: away.Why},
		{name: "this host's, which nobody publishes", host: host, caller: caller,
			endpoints: []Endpoint{{netip.MustParseAddrPort("10.0.0.1:1"), 10, 25}}, reason: WhyNobody},
		{name: "none", host: host, caller: caller, reason: WhyNone},
		{name: "IPv6", host: host, caller: caller, endpoints: []Endpoint{{netip.MustParseAddrPort("[fd00::1]:80"), 10, 1}}, reason: WhyIPv6},
		{name: "for the ambassador", host: host, caller: caller, why: "an instance is set aside",
			endpoints: []Endpoint{{otherHost, 10, 25}}, reason: "an instance is set aside"},
		{name: "of which the caller is one", host: host, caller: Caller{Port: within.Port, Addr: within.Addr.Addr(), Links: caller.Links},
			endpoints: []Endpoint{{here, 10, 25}}},
		{name: "that nobody links", host: host, caller: Caller{Port: 5, Links: map[uint16]string{10001: "other"}},
			endpoints: []Endpoint{{here, 10, 25}}},
	} {
		rules, why := Plan([]Caller{test.caller}, map[string]Service{"shop": {Endpoints: test.endpoints, Why: test.why}}, test.host)
		want := Rules{Links: map[Link]string{}, Services: map[string][]Share{}}
		if test.want != nil {
			want.Services["shop"] = test.want
			want.Links[Link{test.caller.Port, test.caller.Addr, 10001}] = "shop"
		}
		if !reflect.DeepEqual(rules, want) {
			t.Errorf("%s: %+v, want %+v", test.name, rules, want)
		}
		if why["shop"] != test.reason {
			t.Errorf("%s: not the kernel's because %q, want %q", test.name, why["shop"], test.reason)
		}
	}
}

// someRules draws what a plan can come to.
var someRules = rapid.Custom(func(t *rapid.T) Rules {
	names := []string{"a", "b", "c"}
	services := make(map[string]Service)
	for _, name := range names {
		var s Service
		for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
			s.Endpoints = append(s.Endpoints, Endpoint{netip.AddrPortFrom(otherHost.Addr(), uint16(rapid.IntRange(1, 3).Draw(t, "port"))),
				uint16(rapid.IntRange(0, 1).Draw(t, "priority")), uint16(rapid.IntRange(0, 2).Draw(t, "weight"))})
		}
		services[name] = s
	}
	var callers []Caller
	for i := range rapid.IntRange(0, 3).Draw(t, "callers") {
		c := Caller{Port: uint32(i + 1), Addr: netip.AddrFrom4([4]byte{172, 30, 0, byte(rapid.IntRange(2, 4).Draw(t, "addr"))}), Links: make(map[uint16]string)}
		for port := range rapid.IntRange(0, 2).Draw(t, "links") {
			c.Links[uint16(10001+port)] = rapid.SampledFrom(names).Draw(t, "service")
		}
		callers = append(callers, c)
	}
	rules, _ := Plan(callers, services, Host{})
	return rules
})

// TestRulesHoldTogether: no link leads nowhere, and no service is there that nobody links.
func TestRulesHoldTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := someRules.Draw(t, "rules")
		linked := make(map[string]bool)
		for link, service := range rules.Links {
			linked[service] = true
			if len(rules.Services[service]) == 0 {
				t.Fatalf("%+v leads to %s, which has no instance", link, service)
			}
		}
		for service, shares := range rules.Services {
			if !linked[service] {
				t.Fatalf("nobody links %s", service)
			}
			for _, share := range shares {
				if share.Weight == 0 {
					t.Fatalf("%+v of %s gets nothing", share, service)
				}
			}
		}
	})
}

// TestDifference: what it names, made so, is what was wanted; and then nothing is left to do.
func TestDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := someRules.Draw(t, "have"), someRules.Draw(t, "want")
		c := difference(have, want)
		got := Rules{Links: maps.Clone(have.Links), Services: maps.Clone(have.Services)}
		for _, link := range c.unlink {
			delete(got.Links, link)
		}
		for _, service := range c.gone {
			delete(got.Services, service)
		}
		for _, service := range c.altered {
			got.Services[service] = want.Services[service]
		}
		for _, link := range c.link {
			if _, there := got.Links[link]; there {
				t.Fatalf("%+v would be added twice", link)
			}
			got.Links[link] = want.Links[link]
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v leads to %+v", c, got)
		}
		if left := difference(got, want); !left.none() {
			t.Fatalf("left to do: %+v", left)
		}
		for _, i := range c.come {
			if have.has(i) || !want.has(i) || slices.Contains(c.gone, i.Service) {
				t.Fatalf("%+v does not come", i)
			}
		}
	})
}
