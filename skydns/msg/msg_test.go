package msg_test

import (
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/skydns/msg"
	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func TestKeyStandsForName(t *testing.T) {
	for _, c := range []struct{ prefix, name, key, back string }{
		{"skydns", "Web.shop.skydns.local.", "/skydns/local/skydns/shop/web", "web.shop.skydns.local."},
		{"skydns", "i1.web.shop.skydns.local", "/skydns/local/skydns/shop/web/i1", "i1.web.shop.skydns.local."},
		{"my/dns", "web.local.", "/my/dns/local/web", "web.local."},
		{"skydns", "_http._tcp.local.", "/skydns/local/_tcp/_http", "_http._tcp.local."},
	} {
		if got := msg.Key(c.prefix, c.name); got != c.key {
			t.Errorf("Key(%q, %q) = %q, want %q", c.prefix, c.name, got, c.key)
		}
		if got, ok := msg.Name(c.prefix, c.key); !ok || got != c.back {
			t.Errorf("Name(%q, %q) = %q, %v, want %q", c.prefix, c.key, got, ok, c.back)
		}
	}
}

func TestNameOfOddKeys(t *testing.T) {
	for _, c := range []struct {
		key, want string
		ok        bool
	}{
		{"/skydns/local/Web", "Web.local.", true},
		{"/skydns/local/a.b", "a.b.local.", true},
		{"/skydns/local/a b", `a\ b.local.`, true},
		{"/skydns/local/ü", `\195\188.local.`, true},
		{"/skydns/local/" + strings.Repeat("x", 64), strings.Repeat("x", 64) + ".local.", true},
		{"/skydns", "", false},
		{"/skydns/", "", false},
		{"/skydns/local/", "", false},
		{"/skydns/local//x", "", false},
		{"/skydns/local/a..b", "", false},
		{"/skydns/local/.a", "", false},
		{"/skydnsx/local/x", "", false},
		{"/other/local/x", "", false},
	} {
		got, ok := msg.Name("skydns", c.key)
		if got != c.want || ok != c.ok {
			t.Errorf("Name(%q) = %q, %v, want %q, %v", c.key, got, ok, c.want, c.ok)
		}
	}
}

// A name is looked up as it was unpacked from a packet, so it must be written in the same way.
func TestNameIsWrittenAsUnpackedOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return r != '/' && r != '.' }), 1, 10, 40)
		key := "/skydns/local/" + label.Draw(t, "first") + "/" + label.Draw(t, "second")
		name, ok := msg.Name("skydns", key)
		if !ok {
			t.Fatalf("%q has no name", key)
		}
		wire := make([]byte, 256)
		if _, err := dns.PackDomainName(name, wire, 0, nil, false); err != nil {
			t.Fatalf("pack %q: %v", name, err)
		}
		unpacked, _, err := dns.UnpackDomainName(wire, 0)
		if err != nil || unpacked != name {
			t.Fatalf("key %q: name %q, unpacked %q, %v", key, name, unpacked, err)
		}
	})
}

func TestParse(t *testing.T) {
	s, err := msg.Parse(`{"HOST":"10.1.0.5","port":49153,"priority":5,"weight":30,"ttl":45,"text":"t","mail":true,"targetstrip":1,"group":"g","container":"abc"}`)
	want := msg.Service{Host: "10.1.0.5", Port: 49153, Priority: 5, Weight: 30, TTL: 45, Text: "t", Mail: true, TargetStrip: 1, Group: "g"}
	if err != nil || s != want {
		t.Errorf("Parse = %+v, %v, want %+v", s, err, want)
	}
}

func TestParseRefusesWhatDNSCannotSay(t *testing.T) {
	for _, value := range []string{
		``, `hello`, `{"host":"10.0.0.1"`, `[]`, `"10.0.0.1"`,
		`{"port":"80"}`, `{"ttl":"30"}`, `{"ttl":-1}`, `{"ttl":4000000000}`,
		`{"port":70000}`, `{"port":-1}`, `{"priority":65536}`, `{"priority":-1}`, `{"weight":-1}`, `{"weight":4000000000}`, `{"targetstrip":-1}`,
	} {
		if s, err := msg.Parse(value); err == nil || s != (msg.Service{}) {
			t.Errorf("Parse(%q) = %+v, %v, want an error and nothing else", value, s, err)
		}
	}
}
