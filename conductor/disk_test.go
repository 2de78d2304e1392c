package conductor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	const gib, mib = 1 << 30, 1 << 20
	for name, test := range map[string]struct {
		usage usage
		was   bool
		want  string
	}{
		"empty":                     {usage{0, 100 * gib}, false, ""},
		"just not":                  {usage{95 * gib, 5 * gib}, false, ""},
		"nearly all used":           {usage{96 * gib, 4 * gib}, false, "disk is full: 96 % of 100 GiB used"},
		"little left":               {usage{4 * gib, 400 * mib}, false, "disk is full: 400 MiB of 4496 MiB left"},
		"a little more than was":    {usage{94 * gib, 6 * gib}, true, "disk is full: 94 % of 100 GiB used"},
		"a little more left":        {usage{8 * gib, 650 * mib}, true, "disk is full: 650 MiB of 8842 MiB left"},
		"room again":                {usage{90 * gib, 10 * gib}, true, ""},
		"room again on a small one": {usage{4 * gib, 800 * mib}, true, ""},
		"none at all":               {usage{}, false, "disk is full: 0 MiB of 0 MiB left"},
	} {
		if got := test.usage.full(test.was); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if u, err := rootUsage(); err != nil || u.used == 0 || u.free == 0 || u.used+u.free > 1<<60 {
		t.Errorf("this machine's: %+v, %v", u, err)
	}
}

func TestDiskIsRelievedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, relieved, frees := usage{50, 50 << 30}, 0, true
		var failure error
		d := &disk{log: slog.New(slog.DiscardHandler), usage: func() (usage, error) { return now, failure },
			relieve: func(context.Context) error {
				relieved++
				if frees {
					now = usage{50, 50 << 30}
				}
				return nil
			}}
		pass := func(after time.Duration) string {
			for range after / diskPoll {
				time.Sleep(diskPoll)
				d.look(t.Context())
			}
			return d.condition()
		}
		if why := pass(time.Minute); why != "" || relieved != 0 {
			t.Errorf("with room: %q, relieved %d times", why, relieved)
		}
		now = usage{99 << 30, 1 << 30}
		if why := pass(diskPoll); why != "" || relieved != 1 {
			t.Errorf("after room was made: %q, relieved %d times", why, relieved)
		}
		now, frees = usage{99 << 30, 1 << 30}, false
		why := pass(diskPoll)
		if !strings.HasPrefix(why, "disk is full: 99 %") {
			t.Errorf("without room: %q", why)
		}
		now = usage{98 << 30, 2 << 30}
		if again := pass(5 * time.Minute); again != why || relieved < 5 || relieved > 7 {
			t.Errorf("some time later: %q, relieved %d times", again, relieved)
		}
		failure = errors.New("no such file system")
		if again := pass(time.Minute); again != why {
			t.Errorf("when it is not known: %q", again)
		}
		failure, now = nil, usage{50 << 30, 50 << 30}
		if again := pass(diskPoll); again != "" {
			t.Errorf("with room again: %q", again)
		}
	})
}
