package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

func TestAttemptsAreUsedUp(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.short, b.engine.exit = true, engine.Exit{Log: []string{"reading", "no config"}} })
		const policy = `"restart": {"attempts": 3, "interval": "30m", "delay": "1s", "mode": "fail"}`
		b.put(b.slots(checked(policy), idA)...)
		b.pass(time.Hour)
		if n := len(b.asked()); n != 4 {
			t.Errorf("%d starts: %q", n, b.asked())
		}
		o := b.observed(idA)
		if o.Phase != state.PhaseFailed || !o.GaveUp || o.Reason != "exited with code 1: no config; gave up after 3 restarts in 30m" {
			t.Errorf("observed: %+v", o)
		}
		if o.ExitCode == nil || *o.ExitCode != 1 || !slices.Equal(o.Log, []string{"reading", "no config"}) || o.Restarts != 3 {
			t.Errorf("how it ended: %+v", o)
		}
		writes := b.writes()
		b.pass(time.Hour)
		if n := b.writes() - writes; n > 0 {
			t.Errorf("wrote %d times after it gave up", n)
		}
		// Another policy is taken over at once.
		b.engine.set(func() { b.engine.short = false })
		b.put(b.slots(checked(strings.Replace(policy, "3", "4", 1)), idA)...)
		b.pass(time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.GaveUp || len(o.Log) > 0 || len(b.asked()) != 5 {
			t.Errorf("observed: %+v, did %q", o, b.asked())
		}
	})
}

func TestAttemptsAreWaitedFor(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.short = true })
		b.put(b.slots(checked(`"restart": {"attempts": 2, "interval": "10m", "delay": "1s", "mode": "delay"}`), idA)...)
		b.pass(9 * time.Minute)
		if n := len(b.asked()); n != 3 {
			t.Errorf("%d starts in 9 minutes", n)
		}
		b.pass(50 * time.Minute)
		if n := len(b.asked()); n < 11 || n > 13 {
			t.Errorf("%d starts in 59 minutes", n)
		}
	})
}

// TestUnhealthyUsesUpAttempts: it is left running then, for it may recover.
func TestUnhealthyUsesUpAttempts(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.status = 200 })
		b.put(b.slots(checked(`"restart": {"attempts": 1, "mode": "fail"}, "checks": [`+httpCheck+`]`), idA)...)
		b.pass(time.Minute)
		b.engine.set(func() { b.engine.status = 500 })
		b.pass(10 * time.Minute)
		if n := len(b.asked()); n != 3 {
			t.Errorf("did %q", b.asked())
		}
		if o := b.observed(idA); o.Phase != state.PhaseRunning || !o.GaveUp || o.Reason != "GET / on port 80: status 500; gave up after 1 restart in 30m" {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.status = 200 })
		b.pass(time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.GaveUp {
			t.Errorf("observed: %+v", o)
		}
	})
}

func TestImageThatDoesNotExist(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		gaveUp bool
	}{
		"nobody has it":             {fmt.Errorf("pull image nginx: %w: manifest unknown", engine.ErrImageAbsent), true},
		"it may not be pulled":      {engine.ErrNoImage, true},
		"the registry is away":      {errors.New("pull image nginx: no such host"), false},
		"Docker says nothing of it": {errors.New("pull image nginx: context deadline exceeded"), false},
	} {
		t.Run(name, func(t *testing.T) {
			life(t, func(t *testing.T, b *bench) {
				b.engine.set(func() { b.engine.images, b.engine.pullErr = map[string]bool{}, test.err })
				b.assign(idA)
				b.pass(time.Minute)
				if o := b.observed(idA); o.Phase != state.PhaseFailed || o.GaveUp != test.gaveUp || o.Reason != test.err.Error() {
					t.Errorf("observed: %+v", o)
				}
				b.engine.set(func() { b.engine.images["nginx"] = true })
				b.pass(2 * time.Minute)
				if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.GaveUp {
					t.Errorf("once there is one: %+v", o)
				}
			})
		})
	}
}

func TestHealthyDeadline(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.status = 503 })
		b.put(b.slots(checked(`"update": {"healthy_deadline": "20s"}, "checks": [`+strings.TrimSuffix(httpCheck, "}")+`, "on_failure": "unready"}]`), idA)...)
		b.pass(19 * time.Second)
		if o := b.observed(idA); o.GaveUp {
			t.Errorf("too soon: %+v", o)
		}
		b.pass(2 * time.Second)
		if o := b.observed(idA); !o.GaveUp || o.Reason != "not healthy within 20s: GET / on port 80: status 503" {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.status = 200 })
		b.pass(10 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.GaveUp || o.Reason != "" {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.status = 503 })
		b.pass(10 * time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.GaveUp {
			t.Errorf("it was healthy once: %+v", o)
		}
	})
}

func TestStartThatDockerRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		starts int
		gaveUp bool
	}{
		"the command is not there": {errors.New("start container: no such file"), 2, true},
		"Docker does not answer":   {fmt.Errorf("start container: %w", context.DeadlineExceeded), 6, false},
	} {
		t.Run(name, func(t *testing.T) {
			life(t, func(t *testing.T, b *bench) {
				b.engine.set(func() { b.engine.startErr = test.err })
				b.put(b.slots(checked(`"restart": {"attempts": 1, "mode": "fail"}`), idA)...)
				b.pass(2 * time.Minute)
				if n := b.engine.tried(Restart); n < test.starts || n > test.starts+3 {
					t.Errorf("tried %d times", n)
				}
				if o := b.observed(idA); o.Phase != state.PhaseFailed || o.GaveUp != test.gaveUp || !strings.HasPrefix(o.Reason, test.err.Error()) {
					t.Errorf("observed: %+v", o)
				}
			})
		})
	}
}
