package ambassador

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func at(host byte, priority, weight uint16) endpoint {
	return endpoint{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), 80), priority, weight}
}

// firsts counts which endpoint is first in many draws, by the last byte of its address.
func firsts(l *loads, endpoints []endpoint, draws int) map[byte]int {
	counts := make(map[byte]int)
	for range draws {
		first, _ := l.next(newPool(endpoints), nil)
		counts[first.addr.Addr().As4()[3]]++
	}
	return counts
}

// order returns the endpoints in the order in which they are tried.
func order(l *loads, endpoints []endpoint) (ordered []endpoint) {
	var tried []netip.AddrPort
	for p := newPool(endpoints); ; {
		e, ok := l.next(p, tried)
		if !ok {
			return ordered
		}
		ordered = append(ordered, e)
		tried = append(tried, e.addr)
	}
}

func TestOrderHonoursPriority(t *testing.T) {
	endpoints := []endpoint{at(1, 20, 100), at(2, 10, 1), at(3, 10, 1), at(4, 30, 100)}
	for range 100 {
		ordered := order(newLoads(), endpoints)
		if len(ordered) != 4 || ordered[0].priority != 10 || ordered[1].priority != 10 || ordered[2].priority != 20 || ordered[3].priority != 30 {
			t.Fatalf("got %v", ordered)
		}
	}
	if got := order(newLoads(), nil); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}

func TestOrderSpreadsByWeight(t *testing.T) {
	counts := firsts(newLoads(), []endpoint{at(1, 10, 300), at(2, 10, 100), at(3, 10, 0)}, 4000)
	if counts[1] < 2800 || counts[1] > 3200 || counts[2] < 800 || counts[2] > 1200 || counts[3] > 100 {
		t.Errorf("got %v of 4000, want about 3 : 1 : hardly any", counts)
	}
}

func TestOrderPrefersTheLessBusy(t *testing.T) {
	l := newLoads()
	busy, idle := at(1, 10, 100), at(2, 10, 100)
	closed := l.opened(busy.addr)
	if counts := firsts(l, []endpoint{busy, idle}, 200); counts[1] != 0 {
		t.Errorf("the busy one was first: %v", counts)
	}
	closed()
	if counts := firsts(l, []endpoint{busy, idle}, 200); counts[1] < 50 || len(l.open) != 0 {
		t.Errorf("got %v, open %v", counts, l.open)
	}
}

func TestOrderTriesLastWhatJustFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		failed, other := at(1, 10, 100), at(2, 20, 100)
		l.refused(failed.addr)
		if counts := firsts(l, []endpoint{failed, other}, 100); counts[1] != 0 {
			t.Errorf("at once: %v", counts)
		}
		if all := order(l, []endpoint{failed, other}); len(all) != 2 {
			t.Errorf("only %v", all)
		}
		time.Sleep(grudge)
		if counts := firsts(l, []endpoint{failed, other}, 100); counts[2] != 0 {
			t.Errorf("later: %v", counts)
		}
		l.refused(other.addr)
		time.Sleep(2 * grudge)
		l.refused(failed.addr)
		if len(l.failed) != 1 {
			t.Errorf("remembers %v", l.failed)
		}
	})
}
