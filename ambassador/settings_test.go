package ambassador

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestPortRange(t *testing.T) {
	for text, want := range map[string]PortRange{
		"10000:10100": {10000, 10100},
		"1:65535":     {1, 65535},
		"7:7":         {7, 7},
	} {
		var got PortRange
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10000", "10000:", ":10100", "0:5", "10:9", "1:65536", "a:b", "1:2:3"} {
		var got PortRange
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted as %v", text, got)
		}
	}
}

func TestNameServer(t *testing.T) {
	bound := netip.MustParseAddr("172.30.0.1")
	for _, test := range []struct {
		setting string
		bound   netip.Addr
		want    string
	}{
		{setting: "", bound: bound, want: "172.30.0.1:53"},
		{setting: ""},
		{setting: "192.0.2.1", want: "192.0.2.1:53"},
		{setting: "192.0.2.1:5353", bound: bound, want: "192.0.2.1:5353"},
		{setting: "2001:db8::1", want: "[2001:db8::1]:53"},
		{setting: "[2001:db8::1]:5353", want: "[2001:db8::1]:5353"},
	} {
		settings := Settings{DNSAddr: test.setting, Interface: "dokkaa"}
		got, err := settings.nameServer(test.bound)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q on %v: %q, %v", test.setting, test.bound, got, err)
		}
	}
}

func TestValidate(t *testing.T) {
	sound := Settings{MaxConnections: 1, MaxConnectionsPerContainer: 1, MaxFlows: 1, MaxFlowsPerContainer: 1, UDPTimeout: time.Second}
	if err := sound.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Settings){
		"--listen-addr":                   func(s *Settings) { s.ListenAddr = "host" },
		"--max-connections":               func(s *Settings) { s.MaxConnections = 0 },
		"--max-connections-per-container": func(s *Settings) { s.MaxConnectionsPerContainer = 0 },
		"--idle-timeout":                  func(s *Settings) { s.IdleTimeout = -time.Second },
		"--max-stale":                     func(s *Settings) { s.MaxStale = -time.Second },
		"--slow-start":                    func(s *Settings) { s.SlowStart = -time.Second },
		"--access-log":                    func(s *Settings) { s.AccessLog = 1.5 },
		"--max-flows":                     func(s *Settings) { s.MaxFlows = 0 },
		"--max-flows-per-container":       func(s *Settings) { s.MaxFlowsPerContainer = 0 },
		"--udp-timeout":                   func(s *Settings) { s.UDPTimeout = 0 },
	} {
		settings := sound
		change(&settings)
		if err := settings.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestRepeatedRefusalsAreLoggedNowAndThen(t *testing.T) {
	r := newRefusals(testEnv().Log)
	key, now := refusal{netip.MustParseAddr("172.30.0.2"), 10001, "crawler", reasonNoLink}, time.Now()
	for i, want := range []bool{true, false, false} {
		if _, ok := r.admit(key, now); ok != want {
			t.Errorf("refusal %d is logged: %v", i, ok)
		}
	}
	other := key
	other.port++
	if _, ok := r.admit(other, now); !ok {
		t.Error("another refusal is not logged")
	}
	if hidden, ok := r.admit(key, now.Add(repeatRefusal)); !ok || hidden != 2 {
		t.Errorf("later: %v, %d hidden", ok, hidden)
	}
	for port := range 3 * maxRefusals {
		r.admit(refusal{port: port}, now)
	}
	if len(r.seen) > maxRefusals {
		t.Errorf("remembers %d", len(r.seen))
	}
}
