package identity

import (
	"net/netip"
	"testing"
)

func TestStill(t *testing.T) {
	c := New(Settings{})
	link := 1
	c.newestLink = func() int { return link }
	addr := netip.MustParseAddr("127.0.0.2")
	c.table.owners = map[netip.Addr]*Caller{addr: {ID: "a"}}
	for name, test := range map[string]struct {
		id             string
		following      bool
		link           int
		still, certain bool
	}{
		"followed":                               {"a", true, 1, true, true},
		"followed, and another has come":         {"a", true, 2, true, true},
		"another":                                {"b", true, 1, false, true},
		"another, not followed":                  {"b", false, 1, false, true},
		"not followed, and nobody has come":      {"a", false, 1, true, true},
		"not followed, and another has come":     {"a", false, 2, true, false},
		"not followed, and links cannot be read": {"a", false, -1, true, false},
	} {
		c.following, c.listed, c.epoch, c.link = test.following, 1, 1, 1
		link = test.link
		c.publish()
		if still, certain := c.Still(addr, test.id); still != test.still || certain != test.certain {
			t.Errorf("%s: got %v, %v, want %v, %v", name, still, certain, test.still, test.certain)
		}
	}
}
