package limit

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var stranger = netip.MustParseAddr("192.0.2.7")

// count is how many of n replies at one moment are sent, cut or dropped.
func count(l *Limiter, client string, kind Kind, name string, n int) (sent, cut, dropped int) {
	for range n {
		switch l.Check(netip.MustParseAddr(client), kind, []byte(name), time.Now()) {
		case Send:
			sent++
		case Truncate:
			cut++
		case Drop:
			dropped++
		}
	}
	return sent, cut, dropped
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		networks, err := ParseNetworks([]string{"10.0.0.0/8"})
		if err != nil {
			t.Fatal(err)
		}
		l := New(Options{Rate: 10, Slip: 2, Exempt: networks})
		sent, cut, dropped := count(l, "192.0.2.7", Answer, "\x01a\x00", 1000)
		if sent != 11 || cut < 400 || dropped < 400 {
			t.Errorf("at once: %d sent, %d cut, %d dropped", sent, cut, dropped)
		}
		for title, c := range map[string]struct {
			client string
			kind   Kind
			name   string
			want   int
		}{
			"the same in another case":  {"192.0.2.7", Answer, "\x01A\x00", 0},
			"the same network":          {"192.0.2.99", Answer, "\x01a\x00", 0},
			"the same, mapped":          {"::ffff:192.0.2.7", Answer, "\x01a\x00", 0},
			"another name":              {"192.0.2.7", Answer, "\x01b\x00", 11},
			"another network":           {"192.0.3.7", Answer, "\x01a\x00", 11},
			"another kind":              {"192.0.2.7", Absent, "\x01a\x00", 11},
			"the internet's other half": {"2001:db8::1", Answer, "\x01a\x00", 11},
			"a neighbour":               {"10.1.2.3", Answer, "\x01a\x00", 1000},
		} {
			if sent, _, _ := count(l, c.client, c.kind, c.name, 1000); sent != c.want {
				t.Errorf("%s: %d sent, want %d", title, sent, c.want)
			}
		}
		if sent, _, _ := count(l, "192.0.2.7", Absent, "\x01z\x00", 1000); sent != 0 {
			t.Error("names that do not exist are told apart")
		}
		time.Sleep(500 * time.Millisecond)
		if sent, _, _ := count(l, "192.0.2.7", Answer, "\x01a\x00", 1000); sent != 5 {
			t.Errorf("half a second later: %d sent", sent)
		}
	})
}

func TestNoLimit(t *testing.T) {
	l := New(Options{})
	if l.Limits(stranger) || l.Check(stranger, Failed, nil, time.Now()) != Send {
		t.Error("nothing limits")
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	l, now, name := New(Options{Rate: 1}), time.Now(), []byte("\x03www\x07example\x00")
	if n := testing.AllocsPerRun(1000, func() { l.Check(stranger, Answer, name, now) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNetworks(t *testing.T) {
	networks, err := ParseNetworks([]string{"10.1.0.0/16", "192.0.2.1", "fe80::/10"})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"10.1.255.1": true, "10.2.0.1": false, "192.0.2.1": true, "192.0.2.2": false,
		"::ffff:10.1.0.1": true, "fe80::1%eth0": true, "2001:db8::1": false,
	} {
		if got := networks.Contain(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if networks.Contain(netip.Addr{}) {
		t.Error("no address is in no network")
	}
	for _, wrong := range []string{"10.0.0.0/33", "ten", "fe80::1%eth0", ""} {
		if _, err := ParseNetworks([]string{wrong}); err == nil {
			t.Errorf("%q is taken for a network", wrong)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	l, now, name := New(Options{Rate: 1e9}), time.Now(), []byte("\x03www\x07example\x00")
	for b.Loop() {
		l.Check(stranger, Answer, name, now)
	}
}
