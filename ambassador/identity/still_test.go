package identity

import (
	"net/netip"
	"testing"
)

func TestStill(t *testing.T) {
	c := New(Settings{})
	addr := netip.MustParseAddr("127.0.0.2")
	c.table.owners = map[netip.Addr]*Caller{addr: {ID: "a"}}
	for name, test := range map[string]struct {
		id                string
		following, listed bool
		failing           error
		still, certain    bool
	}{
		"followed":                        {"a", true, true, nil, true, true},
		"another":                         {"b", true, true, nil, false, true},
		"another, not followed":           {"b", false, true, nil, false, true},
		"not followed":                    {"a", false, true, nil, true, false},
		"not listed since":                {"a", true, false, nil, true, false},
		"docker is away":                  {"a", false, true, errDocker, true, true},
		"docker is back, and cannot list": {"a", true, false, errDocker, true, false},
	} {
		c.following, c.listed, c.epoch, c.err = test.following, 1, 1, test.failing
		if !test.listed {
			c.epoch = 2
		}
		c.publish()
		if still, certain := c.Still(addr, test.id); still != test.still || certain != test.certain {
			t.Errorf("%s: got %v, %v, want %v, %v", name, still, certain, test.still, test.certain)
		}
	}
}
