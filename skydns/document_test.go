package skydns

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSettingsInEtcdOverrideTheOthers(t *testing.T) {
	t.Setenv("SKYDNS_NDOTS", "4")
	s, err := parse(t, "--domain=flag.test", "--ns-rotate=false")
	if err != nil {
		t.Fatal(err)
	}
	merged, unknown, err := s.with("/skydns/config", `{"dns_addr":"127.0.0.1:5300","Domain":"etcd.test","ttl":120,"min_ttl":0,
		"read_timeout":3000000000,"ndots":3,"round_robin":false,"hostmaster":"ops@etcd.test","local":"h1.etcd.test","no-rec":true}`)
	if err != nil {
		t.Fatal(err)
	}
	c, err := merged.config()
	if err != nil {
		t.Fatal(err)
	}
	a := c.Answer
	if a.Domain != "etcd.test." || a.TTL != 120 || a.MinTTL != 60 || a.MinLabels != 3 || a.Shuffle || a.Hostmaster != "ops.etcd.test." || a.Local != "h1.etcd.test." {
		t.Errorf("answers %+v", a)
	}
	if c.Timeout != 3*time.Second || c.Rotate || fmt.Sprint(c.Listen) != "[127.0.0.1:5300]" {
		t.Errorf("config %+v", c)
	}
	if fmt.Sprint(unknown) != "[no-rec]" {
		t.Errorf("unknown fields %v", unknown)
	}
	sources := map[string]string{}
	for _, setting := range merged.list() {
		sources[setting.name] = setting.source
	}
	for name, want := range map[string]string{
		"domain": "/skydns/config", "ndots": "/skydns/config", "ns-rotate": "flag", "priority": "default",
	} {
		if sources[name] != want {
			t.Errorf("%s comes from %q, want %q", name, sources[name], want)
		}
	}
	if s.Domain != "flag.test" || s.sources["ndots"] != "environment SKYDNS_NDOTS" {
		t.Errorf("the settings of the process changed: %+v", s)
	}
}

func TestSettingsInEtcdThatCannotWork(t *testing.T) {
	for value, want := range map[string]string{
		`{"ttl":`:                    "parse /skydns/config",
		`{"ttl":"30"}`:               "ttl",
		`{"dns_addr":":53"}`:         "address",
		`{"dnssec":"Kskydns.local"}`: "dnssec is not supported",
		`{"domain":"bad..name"}`:     "domain",
	} {
		s, err := parse(t)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.with("/skydns/config", value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}

func TestSettingsThatAreNotSupportedAreNamed(t *testing.T) {
	for _, setting := range []string{"dnssec=K", "etcd3"} {
		name, _, _ := strings.Cut(setting, "=")
		if _, err := parse(t, "--"+setting); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("--%s: %v", setting, err)
		}
	}
}
