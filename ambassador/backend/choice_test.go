package backend

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPrioritiesComeInOrder(t *testing.T) {
	p := poolOf(at(1, 20, 100), at(2, 10, 1), at(3, 10, 1), at(4, 30, 100))
	for range 100 {
		got := order(p, "", start)
		if slices.Sort(got[:2]); !slices.Equal(got, []byte{2, 3, 1, 4}) {
			t.Fatalf("got %v", got)
		}
	}
	if got := order(poolOf(), "", start); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}

// TestWeightsAreTheShares compares what was chosen with the weights, by chi-squared.
func TestWeightsAreTheShares(t *testing.T) {
	const connections = 20000
	p := poolOf(at(1, 10, 300), at(2, 10, 100), at(3, 10, 50), at(4, 10, 50), at(5, 20, 1000))
	got, distance := many(p, connections, start), 0.0
	for host, weight := range map[byte]float64{1: 300, 2: 100, 3: 50, 4: 50} {
		want := connections * weight / 500
		distance += math.Pow(float64(got[host])-want, 2) / want
	}
	if distance > 21.1 || got[5] > 0 { // 3 degrees of freedom, once in 10,000
		t.Errorf("got %v", got)
	}
	if got := many(poolOf(at(1, 10, 0), at(2, 10, 100)), connections, start); got[1] == 0 || got[1] > connections/50 {
		t.Errorf("of weight 0: %v", got)
	}
}

func TestOpenConnectionsFollowTheWeights(t *testing.T) {
	p := poolOf(at(1, 10, 300), at(2, 10, 100))
	for range 400 {
		p.Choose("", nil, start)
	}
	for _, s := range p.Status() {
		if share := s.Open * 100 / int(s.Weight); share < 95 || share > 105 {
			t.Errorf("got %+v", p.Status())
		}
	}
}

func TestTheLessBusyIsPreferred(t *testing.T) {
	p := poolOf(at(1, 10, 100), at(2, 10, 100))
	busy, _ := p.Choose("", nil, start)
	if got := many(p, 200, start); got[busy.host()] != 0 {
		t.Errorf("the busy one %d was chosen: %v", busy.host(), got)
	}
	host := busy.host()
	busy.Release()
	if got := many(p, 200, start); got[host] < 50 {
		t.Errorf("got %v", got)
	}
}

// fail has a connection fail at the host.
func fail(t *testing.T, p *Pool, host byte, now time.Time) {
	t.Helper()
	for range 1000 {
		if c, ok := p.Choose("", nil, now); ok && c.host() == host {
			c.Failed(now)
			c.Release()
			return
		} else if ok {
			c.Release()
		}
	}
	t.Fatalf("%d is never chosen", host)
}

func TestWhatFailsIsSetAsideForLongerEachTime(t *testing.T) {
	p, now := poolOf(at(1, 10, 100), at(2, 10, 100)), start
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		fail(t, p, 1, now)
		now = now.Add(pause*time.Second - time.Millisecond)
		if got := many(p, 200, now); got[1] != 0 {
			t.Fatalf("within %d s: %v", pause, got)
		}
		now = now.Add(time.Millisecond)
	}
	for c, ok := p.Choose("", nil, now); ; c, ok = p.Choose("", nil, now) {
		if ok && c.host() == 1 {
			c.Accepted()
			c.Release()
			break
		}
		c.Release()
	}
	if got := many(p, 200, now); got[1] < 50 {
		t.Errorf("after a success: %v", got)
	}
	fail(t, p, 1, now)
	if got := many(p, 200, now.Add(asideLeast)); got[1] == 0 {
		t.Error("a success did not reset the time")
	}
}

func TestConnectionsThatFailTogetherCountOnce(t *testing.T) {
	p := poolOf(at(1, 10, 100))
	var open []Choice
	for range 50 {
		c, _ := p.Choose("", nil, start)
		open = append(open, c)
	}
	for i := range open {
		open[i].Failed(start)
		open[i].Release()
	}
	if until := time.Duration(p.members[0].aside.Load()); until != asideLeast {
		t.Errorf("set aside for %v", until)
	}
}

func TestOneConnectionTriesAgain(t *testing.T) {
	for name, end := range map[string]func(c *Choice, now time.Time){
		"fails":    func(c *Choice, now time.Time) { c.Failed(now) },
		"succeeds": func(c *Choice, _ time.Time) { c.Accepted() },
		"leaves":   func(c *Choice, _ time.Time) { c.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			p, now := poolOf(at(1, 10, 100), at(2, 10, 100)), start
			fail(t, p, 1, now)
			now = now.Add(asideLeast)
			var trial Choice
			var others []Choice
			for range 500 {
				c, _ := p.Choose("", nil, now)
				switch {
				case c.host() == 2:
					others = append(others, c)
				case trial.member == nil:
					trial = c
				default:
					t.Fatal("two try at a time")
				}
			}
			if trial.member == nil {
				t.Fatal("nobody tries")
			}
			end(&trial, now)
			trial.Release()
			for i := range others {
				others[i].Release()
			}
			if got := many(p, 200, now); (got[1] == 0) != (name == "fails") {
				t.Errorf("afterwards: %v", got)
			}
		})
	}
}

func TestTheNextPriorityServesWhileTheBestIsSetAside(t *testing.T) {
	p := poolOf(at(1, 10, 100), at(2, 10, 100), at(3, 20, 100))
	fail(t, p, 1, start)
	if got := many(p, 100, start); got[3] != 0 {
		t.Errorf("one of the best is left: %v", got)
	}
	fail(t, p, 2, start)
	if got := many(p, 100, start); got[3] != 100 {
		t.Errorf("none of the best is left: %v", got)
	}
	if got := many(p, 100, start.Add(asideLeast)); got[3] == 100 {
		t.Error("the best are not tried again")
	}
}

func TestWhereAllAreSetAsideTheOldestFailureIsTriedFirst(t *testing.T) {
	p, now := poolOf(at(1, 10, 100), at(2, 10, 100), at(3, 20, 100)), start
	for _, host := range []byte{2, 1, 3} {
		fail(t, p, host, now)
		now = now.Add(time.Millisecond)
	}
	var together []byte
	for range 6 { // connections at one time share the risk
		c, ok := p.Choose("", nil, now)
		if !ok {
			t.Fatal("nothing is tried")
		}
		together = append(together, c.host())
		now = now.Add(time.Microsecond)
		defer c.Release()
	}
	if !slices.Equal(together, []byte{2, 1, 3, 2, 1, 3}) {
		t.Errorf("got %v", together)
	}
	if got := order(p, "", now); len(got) != 3 {
		t.Errorf("one connection tries %v", got)
	}
}

func TestANewEndpointStartsSlowly(t *testing.T) {
	p := poolOf(at(1, 10, 100), at(2, 10, 100))
	joined := start.Add(time.Minute)
	p = p.Renew([]Endpoint{at(1, 10, 100), at(2, 10, 100), at(3, 10, 100)}, joined)
	share := func(after time.Duration) int { return many(p, 10000, joined.Add(after))[3] / 100 }
	if early, half, full := share(0), share(5*time.Second), share(10*time.Second); early < 2 || early > 6 || half < 15 || half > 25 || full < 30 || full > 37 {
		t.Errorf("its share is %d %%, %d %% and %d %%, want about 4, 20 and 33", early, half, full)
	}
	for range 300 { // that stay open
		p.Choose("", nil, joined.Add(time.Second))
	}
	if all := p.Status(); all[2].Open > 25 {
		t.Errorf("got %+v", all)
	}
}

func TestNoSlowStartWhereNothingElseWasThere(t *testing.T) {
	three := []Endpoint{at(1, 10, 100), at(2, 10, 100), at(3, 10, 100)}
	for name, p := range map[string]*Pool{
		"first answer": poolOf(three...),
		"after none":   poolOf().Renew(nil, start).Renew(three, start.Add(time.Minute)),
		"all are new":  poolOf(at(4, 10, 100)).Renew(three, start.Add(time.Minute)),
		"without":      New(start, 0).Renew(three[:1], start).Renew(three, start.Add(time.Minute)),
	} {
		if got := many(p, 3000, start.Add(time.Minute)); got[1] < 900 || got[2] < 900 || got[3] < 900 {
			t.Errorf("%s: %v", name, got)
		}
	}
	alone := poolOf(at(1, 10, 100)).Renew([]Endpoint{at(1, 20, 100), at(2, 10, 100)}, start.Add(time.Minute))
	if got := many(alone, 100, start.Add(time.Minute)); got[2] != 100 {
		t.Errorf("the only one of its priority: %v", got)
	}
}

// TestChoicesMayBeMadeAtATime has many goroutines choose while endpoints fail and answers change.
func TestChoicesMayBeMadeAtATime(t *testing.T) {
	endpoints := []Endpoint{at(1, 10, 100), at(2, 10, 100), at(3, 10, 100), at(4, 20, 100)}
	var current atomic.Pointer[Pool]
	current.Store(poolOf(endpoints...))
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			caller := []string{"", "a"}[g%2]
			for i := range 5000 {
				now := start.Add(time.Duration(i) * time.Millisecond)
				c, ok := current.Load().Choose(caller, nil, now)
				switch {
				case !ok:
					t.Error("nothing is chosen")
				case c.host() == 1:
					c.Failed(now)
				default:
					c.Accepted()
				}
				c.Release()
			}
		})
	}
	group.Go(func() {
		for i := range 500 {
			current.Store(current.Load().Renew(endpoints[i%2:], start.Add(time.Duration(i)*10*time.Millisecond)))
		}
	})
	group.Wait()
	for _, s := range current.Load().Status() {
		if s.Open != 0 {
			t.Errorf("%+v is left", s)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		var endpoints []Endpoint
		for i := range n {
			endpoints = append(endpoints, Endpoint{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80), 10, 100})
		}
		for _, caller := range []string{"", "0123456789ab"} {
			name := map[string]string{"": "", "0123456789ab": "_sticky"}[caller]
			b.Run(fmt.Sprintf("%d%s", n, name), func(b *testing.B) {
				p := poolOf(endpoints...)
				b.ReportAllocs()
				for b.Loop() {
					c, _ := p.Choose(caller, nil, start)
					c.Accepted()
					c.Release()
				}
			})
		}
	}
}
