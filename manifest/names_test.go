package manifest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
)

func TestValidateNames(t *testing.T) {
	tests := map[string]struct {
		app, name string
		want      string // "" = valid
	}{
		"documented":       {"dummy", "nginx", ""},
		"digits, hyphens":  {"shop-2", "a--b", ""},
		"63 characters":    {"dummy", strings.Repeat("n", 63), ""},
		"300 characters":   {"dummy", strings.Repeat("n", 300), "name: is 300 characters long, at most 63 are allowed"},
		"separator":        {"a---b", "x", `app: "a---b" must not contain "---"`},
		"reserved app":     {"dns", "x", `app: "dns" is reserved`},
		"reserved name":    {"x", "any", `name: "any" is reserved`},
		"any is no app":    {"any", "x", `app: "any" is reserved`},
		"web is no app":    {"web", "web", `app: "web" is reserved`},
		"empty, both said": {"", "-x", `app: must not be empty; name: "-x" is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := manifest.ValidateNames(test.app, test.name); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestContainerName(t *testing.T) {
	if got := manifest.ContainerName("dummy", "nginx", 1); got != "dummy---nginx" {
		t.Error(got)
	}
	if got := manifest.ContainerName("dummy", "nginx", 2); got != "dummy---nginx---2" {
		t.Error(got)
	}
}

func TestEnvironmentOfLinks(t *testing.T) {
	m, err := manifest.Parse([]byte(`{"image": "i", "env": {"Z": "1", "A": "x y"},
		"links": ["nginx", "other/redis", {"to": "other/my-db", "as": "main-db", "sticky": true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"A=x y", "Z=1",
		"SERVICE_NGINX_ADDR=ambassador", "SERVICE_NGINX_PORT=10001", "BACKENDS_10001=nginx.dummy.skydns.local",
		"SERVICE_REDIS_ADDR=ambassador", "SERVICE_REDIS_PORT=10002", "BACKENDS_10002=redis.other.skydns.local",
		"SERVICE_MAIN_DB_ADDR=ambassador", "SERVICE_MAIN_DB_PORT=10003", "BACKENDS_10003=my-db.other.skydns.local"}
	if got := m.Environment("dummy"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	wantBackends := map[string]string{"10001": "nginx.dummy.skydns.local", "10002": "redis.other.skydns.local", "10003": "my-db.other.skydns.local"}
	if got := m.Backends("dummy"); !maps.Equal(got, wantBackends) {
		t.Errorf("got %v, want %v", got, wantBackends)
	}
	if got := m.StickyPorts(); !slices.Equal(got, []int{10003}) {
		t.Errorf("sticky are %v", got)
	}
}
