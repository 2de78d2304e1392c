package backend

import (
	"fmt"
	"testing"
	"time"
)

// homes says where each of many callers goes.
func homes(p *Pool, callers int, now time.Time) []byte {
	hosts := make([]byte, callers)
	for i := range hosts {
		c, _ := p.Choose(fmt.Sprintf("caller%d", i), nil, now)
		hosts[i] = c.host()
		c.Release()
	}
	return hosts
}

func moved(a, b []byte) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

func TestACallerStaysWithItsEndpoint(t *testing.T) {
	three := []Endpoint{at(1, 10, 100), at(2, 10, 100), at(3, 10, 200)}
	four := append(three[:3:3], at(4, 10, 100))
	p := poolOf(three...)
	before := homes(p, 4000, start)
	counts := make(map[byte]int)
	for _, host := range before {
		counts[host]++
	}
	if counts[1] < 850 || counts[1] > 1150 || counts[3] < 1800 || counts[3] > 2200 {
		t.Errorf("they are spread %v, want 1 : 1 : 2", counts)
	}
	if n := moved(before, homes(poolOf(three...), 4000, start)); n > 0 {
		t.Errorf("after a restart %d go elsewhere", n)
	}
	p = p.Renew(four, start)
	if n := moved(before, homes(p, 4000, start)); n > 0 {
		t.Errorf("for a new endpoint %d left theirs", n)
	}
	if n := moved(before, homes(poolOf(four...), 4000, start)); n < 600 || n > 1000 {
		t.Errorf("after a restart with a new endpoint %d go elsewhere, want a fifth of 4000", n)
	}
	p = p.Renew(four[1:], start)
	after := homes(p, 4000, start)
	if n := moved(before, after); n != counts[1] {
		t.Errorf("%d go elsewhere, %d were with the one that was withdrawn", n, counts[1])
	}
	if n := moved(after, homes(p.Renew(four, start), 4000, start)); n > 0 {
		t.Errorf("%d went back", n)
	}
}

func TestACallerLeavesWhatIsSetAside(t *testing.T) {
	p := poolOf(at(1, 10, 100), at(2, 10, 100), at(3, 20, 100))
	c, _ := p.Choose("a", nil, start)
	home := c.host()
	c.Failed(start)
	c.Release()
	for range 10 {
		if got := order(p, "a", start); len(got) != 3 || got[0] != 3-home || got[1] != 3 {
			t.Fatalf("got %v, the first was %d", got, home)
		}
	}
}

func TestAHabitIsForgotten(t *testing.T) {
	p := poolOf(at(1, 10, 100), at(2, 10, 100))
	homes(p, 10, start)
	p = p.Renew(nil, start.Add(habitFor))
	if len(p.last) != 10 {
		t.Errorf("within its time only %d are known", len(p.last))
	}
	p.Renew(nil, start.Add(2*habitFor))
	if len(p.last) != 0 {
		t.Errorf("%v are still known", p.last)
	}
}
