package conductor

import (
	"testing"
	"time"
)

func TestAHostOpensAgainOnceNothingIsWrongForAWhile(t *testing.T) {
	var s standing
	start := time.Now()
	for _, c := range []struct {
		at        time.Duration
		now, want string
	}{
		{0, "not looked yet", "not looked yet"},
		{500 * time.Millisecond, "", ""},
		{1 * time.Second, "sick", "sick"},
		{2 * time.Second, "full", "full"},
		{3 * time.Second, "", "full"},
		{7 * time.Second, "", "full"},
		{7500 * time.Millisecond, "sick", "sick"}, // once more: the time begins anew
		{8 * time.Second, "", "sick"},
		{12 * time.Second, "", "sick"},
		{13 * time.Second, "", ""},
		{14 * time.Second, "", ""},
	} {
		if got := s.tell(c.now, start.Add(c.at)); got != c.want {
			t.Errorf("after %v: %q, want %q", c.at, got, c.want)
		}
	}
}
