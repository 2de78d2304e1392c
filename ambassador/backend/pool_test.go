package backend

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(host byte, priority, weight uint16) Endpoint {
	return Endpoint{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), 80), priority, weight}
}

// poolOf is the first pool of a service, of these endpoints.
func poolOf(endpoints ...Endpoint) *Pool { return New(start, 10*time.Second).Renew(endpoints, start) }

// host is the last byte of the address that is chosen.
func (c *Choice) host() byte { return c.Endpoint().Addr.Addr().As4()[3] }

// many counts which endpoints are chosen for connections that end at once, by the last byte of their addresses.
func many(p *Pool, connections int, now time.Time) map[byte]int {
	counts := make(map[byte]int)
	for range connections {
		if c, ok := p.Choose("", nil, now); ok {
			counts[c.host()]++
			c.Release()
		}
	}
	return counts
}

// order returns the hosts in the order in which a connection tries them.
func order(p *Pool, caller string, now time.Time) (hosts []byte) {
	var tried []netip.AddrPort
	for {
		c, ok := p.Choose(caller, tried, now)
		if !ok {
			return hosts
		}
		hosts = append(hosts, c.host())
		tried = append(tried, c.Endpoint().Addr)
		c.Release()
	}
}

func TestAPoolIsKeptForTheSameAnswer(t *testing.T) {
	p := poolOf(at(1, 10, 100), at(2, 10, 100))
	if p.Renew([]Endpoint{at(2, 10, 100), at(1, 10, 100), at(1, 10, 100)}, start) != p {
		t.Error("another order or a double made another pool")
	}
	for _, other := range [][]Endpoint{nil, {at(1, 10, 100)}, {at(1, 10, 100), at(2, 10, 50)}, {at(1, 10, 100), at(2, 20, 100)}} {
		if p.Renew(other, start) == p {
			t.Errorf("%v made no other pool", other)
		}
	}
}

func TestWhatIsKnownOfAnEndpointStays(t *testing.T) {
	p := poolOf(at(1, 10, 100), at(2, 10, 100))
	open, _ := p.Choose("", nil, start)
	failed, _ := p.Choose("", []netip.AddrPort{open.Endpoint().Addr}, start)
	failed.Failed(start)
	failed.Release()
	p = p.Renew([]Endpoint{at(1, 20, 50), at(2, 20, 50), at(3, 20, 50)}, start)
	for _, s := range p.Status() {
		isOpen, isFailed := s.Addr == open.Endpoint().Addr, s.Addr == at(3-open.host(), 0, 0).Addr
		if s.Priority != 20 || (s.Open == 1) != isOpen || s.SetAside != isFailed {
			t.Errorf("got %+v", s)
		}
	}
	open.Release()
	open.Release()
	for _, s := range p.Status() {
		if s.Open != 0 {
			t.Errorf("after the end: %+v", s)
		}
	}
}

// TestEveryChoiceIsOneOfTheBest holds choices to the rules, whatever the endpoints and their history.
func TestEveryChoiceIsOneOfTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.Custom(func(t *rapid.T) Endpoint {
			return at(rapid.Byte().Draw(t, "host"), rapid.Uint16Range(1, 3).Draw(t, "priority"), rapid.Uint16Range(0, 3).Draw(t, "weight"))
		})
		p, now := New(start, 10*time.Second), start
		var open []Choice
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				p = p.Renew(rapid.SliceOfNDistinct(draw, 0, 12, func(e Endpoint) netip.AddrPort { return e.Addr }).Draw(t, "answer"), now)
			case 1:
				if len(open) > 0 {
					open[0].Failed(now)
					open[0].Release()
					open = open[1:]
				}
			case 2:
				if len(open) > 0 {
					open[0].Accepted()
					open[0].Release()
					open = open[1:]
				}
			default:
				open = append(open, checkChoice(t, p, now)...)
			}
		}
		for i := range open {
			open[i].Release()
		}
		for _, s := range p.Status() {
			if s.Open != 0 {
				t.Fatalf("%+v is left", s)
			}
		}
	})
}

// checkChoice makes a choice and says what is wrong with it.
func checkChoice(t *rapid.T, p *Pool, now time.Time) []Choice {
	var tried []netip.AddrPort
	usable, left := uint16(0), 0 // best priority that has one
	for i := range p.members {
		m := &p.members[i]
		if rapid.IntRange(0, 3).Draw(t, "tried") == 0 {
			tried = append(tried, m.Addr)
			continue
		}
		left++
		if usable == 0 && m.usable(now.Sub(p.epoch)) {
			usable = m.Priority
		}
	}
	c, ok := p.Choose(rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "caller"), tried, now)
	switch {
	case ok != (left > 0):
		t.Fatalf("%d endpoints are left, chosen: %v", left, ok)
	case !ok:
		return nil
	case slices.Contains(tried, c.Endpoint().Addr):
		t.Fatalf("%v was tried", c.Endpoint())
	case usable != 0 && c.Endpoint().Priority != usable:
		t.Fatalf("got %v, there is one of priority %d", c.Endpoint(), usable)
	}
	return []Choice{c}
}
