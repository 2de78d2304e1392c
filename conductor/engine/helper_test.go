package engine

import (
	"errors"
	"strings"
	"testing"

	dockerclient "github.com/fsouza/go-dockerclient"
)

func TestContainerIn(t *testing.T) {
	one, other := strings.Repeat("0a", 32), strings.Repeat("1b", 32)
	mount := func(id, file string) string {
		return "722 699 8:1 /var/lib/docker/containers/" + id + "/" + file + " /etc/" + file + " rw,relatime - ext4 /dev/sda1 rw\n"
	}
	for name, test := range map[string]struct{ mountinfo, want string }{
		"in a container":             {"1 2 0:1 / / rw - overlay overlay rw\n" + mount(one, "hostname") + mount(one, "resolv.conf"), one},
		"on a host":                  {"1 2 0:1 / / rw - ext4 /dev/sda1 rw\n", ""},
		"on a host that shows it":    {mount(one, "hostname") + mount(other, "hostname"), ""},
		"something like a container": {mount(one[:60], "hostname"), ""},
		"nothing":                    {"", ""},
	} {
		got, err := containerIn(strings.NewReader(test.mountinfo))
		if got != test.want || test.want == "" && !errors.Is(err, ErrNoContainer) || test.want != "" && err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
	}
}

func TestHelperHasItsFiles(t *testing.T) {
	t.Parallel()
	own := &dockerclient.Container{HostConfig: &dockerclient.HostConfig{Binds: []string{
		"/var/run/docker.sock:/var/run/docker.sock", "/etc/dokkaa/tls/conductor:/etc/dokkaa/tls:ro", "/etc/dokkaa/secret.key:/etc/dokkaa/secret.key:ro"}}}
	got := bindsOf(own, []string{"/etc/dokkaa/tls/conductor.pem", "/etc/dokkaa/tls/ca.pem", ""})
	if len(got) != 1 || got[0] != "/etc/dokkaa/tls/conductor:/etc/dokkaa/tls:ro" {
		t.Errorf("the helper has %q", got)
	}
}
