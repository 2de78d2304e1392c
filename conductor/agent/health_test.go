package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

// checked is a revision of nginx with fields beside image and service: `"checks": […]`.
func checked(fields string) string {
	return `{"manifest": {"image": "nginx", "services": {"nginx": 80}, ` + fields + `}, "hash": "x"}`
}

const (
	httpCheck = `{"name": "page", "type": "http", "path": "/", "interval": "5s", "start_period": "10s"}`
	execCheck = `{"name": "self", "type": "exec", "command": ["/check"], "interval": "5s", "start_period": "10s"}`
)

// life runs a part of a test on a running agent in virtual time.
func life(t *testing.T, part func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		part(t, b)
	})
}

// asked is what the engine was asked for so far.
func (b *bench) asked() []string {
	b.engine.mu.Lock()
	defer b.engine.mu.Unlock()
	return slices.Clone(b.engine.log)
}

// writes are those of the instance's state so far.
func (b *bench) writes() (n int) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	for _, w := range b.store.log {
		if strings.HasPrefix(w, "set "+state.InstanceKey("10.0.0.1", "")) {
			n++
		}
	}
	return n
}

func TestHealthyWhileAllChecksPass(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.status, b.engine.exec = 503, engine.Exec{Code: 1} })
		b.put(b.slots(checked(`"checks": [`+httpCheck+`, `+execCheck+`]`), idA)...)
		b.pass(5 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.Reason != "GET / on port 80: status 503" || b.record(idA) != "" {
			t.Errorf("none passes: %+v", o)
		}
		b.engine.set(func() { b.engine.status = 200 })
		b.pass(2 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.Reason != "command /check exited with code 1" || b.record(idA) != "" {
			t.Errorf("one passes: %+v", o)
		}
		b.engine.set(func() { b.engine.exec.Code = 0 })
		b.pass(2 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Reason != "" || b.record(idA) == "" {
			t.Errorf("both pass: %+v", o)
		}
	})
}

func TestUnreadyIsWithdrawnOnly(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.status = 200 })
		b.put(b.slots(checked(`"checks": [`+strings.TrimSuffix(httpCheck, "}")+`, "on_failure": "unready"}]`), idA)...)
		b.pass(time.Minute)
		before := b.record(idA)
		b.engine.set(func() { b.engine.status = 500 })
		b.pass(5*time.Second + 3*recheck)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.Steady || b.record(idA) != "" {
			t.Errorf("observed: %+v, record %q", o, b.record(idA))
		}
		writes := b.writes()
		b.pass(10 * time.Minute)
		if n := b.writes() - writes; n > 0 {
			t.Errorf("wrote its state %d times while nothing changed", n)
		}
		b.engine.set(func() { b.engine.status = 200 })
		b.pass(6 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || b.record(idA) != before {
			t.Errorf("observed: %+v, record %q", o, b.record(idA))
		}
		if want := []string{"start c-" + idA}; !slices.Equal(b.asked(), want) {
			t.Errorf("did %q", b.asked())
		}
	})
}

func TestUnhealthyIsWithdrawnAndRestarted(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.status, b.engine.takes = 200, 3*time.Second })
		b.put(b.slots(checked(`"stop_grace_period": "7s", "checks": [`+httpCheck+`]`), idA)...)
		b.pass(time.Minute)
		b.engine.set(func() { b.engine.status = 500 })
		for b.record(idA) != "" {
			b.pass(10 * time.Millisecond)
		}
		b.pass(100 * time.Millisecond)
		b.engine.set(func() { b.engine.status = 200 })
		for len(b.asked()) < 2 { // while it is being stopped it may pass its checks again
			if b.record(idA) != "" {
				t.Fatal("announced while it is being stopped")
			}
			b.pass(10 * time.Millisecond)
		}
		b.pass(5 * time.Second)
		if want := []string{"start c-" + idA, "halt c-" + idA + " after 7s", "start c-" + idA}; !slices.Equal(b.asked(), want) {
			t.Errorf("did %q", b.asked())
		}
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Restarts != 1 || o.ExitCode != nil || !strings.Contains(b.record(idA), `"port":32770`) {
			t.Errorf("observed: %+v, record %q", o, b.record(idA))
		}
	})
}

// TestWhatNeverGetsHealthyIsRestartedLaterAndLater: its start period is over, so it is tried anew.
func TestWhatNeverGetsHealthyIsRestartedLaterAndLater(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.status = 500 })
		b.put(b.slots(checked(`"checks": [`+httpCheck+`]`), idA)...)
		b.pass(10 * time.Second)
		if n := len(b.asked()); n != 1 {
			t.Errorf("restarted in its start period: %q", b.asked())
		}
		b.pass(5 * time.Second)
		if n := len(b.asked()); n != 3 {
			t.Errorf("not restarted at once after its start period: %q", b.asked())
		}
		b.agent.mu.Lock()
		failures := b.agent.memory[idA].failures
		b.agent.mu.Unlock()
		if failures != 1 {
			t.Errorf("counts as %d failures", failures)
		}
		b.pass(20 * time.Minute)
		if n := len(b.asked()) / 2; n < 12 || n > 30 {
			t.Errorf("%d restarts in 20 minutes", n)
		}
		if o := b.observed(idA); o.Phase != state.PhaseRunning || !o.GaveUp || o.Reason != "not healthy within 5m: GET / on port 80: status 500" {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.status = 200 })
		b.pass(2 * time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.GaveUp || !o.Steady {
			t.Errorf("observed: %+v", o)
		}
	})
}

// TestSlowStartWithoutChecks: how long it takes nobody said.
func TestSlowStartWithoutChecks(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.deaf = errRefused })
		b.assign(idA)
		b.pass(4*time.Minute + 50*time.Second)
		if want := []string{"start c-" + idA}; !slices.Equal(b.asked(), want) {
			t.Errorf("did %q", b.asked())
		}
		b.pass(30 * time.Second)
		if n := len(b.asked()); n != 3 {
			t.Errorf("never restarted: %q", b.asked())
		}
	})
}

func TestNoRestartWhileDockerHangs(t *testing.T) {
	for name, recovers := range map[string]bool{"it recovers meanwhile": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			life(t, func(t *testing.T, b *bench) {
				b.engine.set(func() { b.engine.status = 200 })
				b.put(b.slots(checked(`"checks": [`+httpCheck+`]`), idA)...)
				b.pass(time.Minute)
				b.engine.set(func() { b.engine.status, b.engine.hangs = 500, true })
				b.pass(5 * time.Minute)
				if o := b.observed(idA); o.Phase != state.PhaseRunning || b.record(idA) != "" {
					t.Errorf("http does not decide: %+v, record %q", o, b.record(idA))
				}
				b.engine.set(func() {
					b.engine.hangs = false
					if recovers {
						b.engine.status = 200
					}
				})
				b.pass(30 * time.Second)
				if n := len(b.asked()); (n > 1) == recovers {
					t.Errorf("did %q", b.asked())
				}
			})
		})
	}
}

func TestCommandThatCannotRunIsNoFailure(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.put(b.slots(checked(`"checks": [`+execCheck+`]`), idA)...)
		b.pass(time.Minute)
		before := b.record(idA)
		b.engine.set(func() { b.engine.execErr = errors.New("no socket") })
		b.pass(10 * time.Minute)
		b.engine.set(func() { b.engine.hangs = true })
		b.pass(10 * time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || b.record(idA) != before || len(b.asked()) != 1 {
			t.Errorf("observed: %+v, record %q, did %q", o, b.record(idA), b.asked())
		}
		b.engine.set(func() { b.engine.hangs, b.engine.execErr, b.engine.exec = false, nil, engine.Exec{Code: 1} })
		b.pass(time.Minute)
		if len(b.asked()) < 3 {
			t.Error("a command that fails is no failure either")
		}
	})
}

// TestUnknownIsNoReasonToRestart also where another check fails.
func TestUnknownIsNoReasonToRestart(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.status = 200 })
		b.put(b.slots(checked(`"checks": [`+httpCheck+`, `+execCheck+`]`), idA)...)
		b.pass(time.Minute)
		b.engine.set(func() { b.engine.status, b.engine.execErr = 500, errors.New("no socket") })
		b.pass(5 * time.Minute)
		if b.record(idA) != "" || len(b.asked()) != 1 {
			t.Errorf("record %q, did %q", b.record(idA), b.asked())
		}
		b.engine.set(func() { b.engine.execErr = nil })
		b.pass(10 * time.Second)
		if len(b.asked()) != 3 {
			t.Errorf("did %q", b.asked())
		}
	})
}

func TestOtherChecksNeedNoRestart(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.assign(idA)
		b.pass(time.Minute)
		before, logged := b.record(idA), len(b.store.log)
		b.engine.set(func() { b.engine.status = 200 })
		b.put(b.slots(checked(`"checks": [`+httpCheck+`]`), idA)...)
		b.pass(time.Minute)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || b.record(idA) != before || len(b.store.log) > logged {
			t.Errorf("observed: %+v, wrote %q", o, b.store.log[logged:])
		}
		// A check that was wrong from the start is one that never passed: it has its start period.
		b.engine.set(func() { b.engine.status = 404 })
		b.put(b.slots(checked(`"checks": [`+strings.Replace(httpCheck, `"/"`, `"/wrong"`, 1)+`]`), idA)...)
		b.pass(9 * time.Second)
		if b.record(idA) != before {
			t.Error("withdrawn before the new check's start period is over")
		}
		b.pass(6 * time.Second)
		if b.record(idA) != "" && len(b.asked()) == 1 {
			t.Errorf("record %q, did %q", b.record(idA), b.asked())
		}
		b.engine.set(func() { b.engine.status = 200 })
		b.put(b.slots(checked(`"checks": [`+httpCheck+`]`), idA)...)
		b.pass(2 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || b.record(idA) == "" {
			t.Errorf("observed: %+v", o)
		}
	})
}

func TestHealthByTheImage(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		say := func(health engine.Health) {
			b.engine.set(func() { b.engine.containers["c-"+idA].Health = health })
			b.agent.EngineHint()
			b.pass(time.Second)
		}
		b.engine.set(func() { b.engine.health = engine.HealthStarting })
		b.assign(idA)
		b.pass(5 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseRunning || o.Reason != "the image's health check has not passed yet" || b.record(idA) != "" {
			t.Errorf("observed: %+v", o)
		}
		say(engine.HealthHealthy)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || b.record(idA) == "" {
			t.Errorf("observed: %+v", o)
		}
		b.pass(time.Minute)
		say(engine.HealthUnhealthy)
		if o := b.observed(idA); o.Phase == state.PhaseHealthy || b.record(idA) != "" || len(b.asked()) != 3 {
			t.Errorf("observed: %+v, did %q", o, b.asked())
		}
	})
}

func TestNoisyFailureIsWrittenOnce(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.engine.set(func() { b.engine.exec = engine.Exec{Code: 1, Output: "begin"} })
		b.put(b.slots(checked(`"checks": [`+strings.TrimSuffix(execCheck, "}")+`, "on_failure": "unready"}]`), idA)...)
		b.pass(30 * time.Second)
		writes := b.writes()
		for i := range 100 {
			b.engine.set(func() { b.engine.exec.Output = fmt.Sprintf("it is %d o'clock", i) })
			b.pass(time.Second)
		}
		if n := b.writes() - writes; n > 0 {
			t.Errorf("wrote %d times", n)
		}
	})
}

func TestSteady(t *testing.T) {
	life(t, func(t *testing.T, b *bench) {
		b.put(b.slots(checked(`"update": {"min_healthy_time": "20s"}`), idA)...)
		b.pass(19 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Steady {
			t.Errorf("after 19 s: %+v", o)
		}
		b.pass(2 * time.Second)
		if o := b.observed(idA); !o.Steady {
			t.Errorf("after 21 s: %+v", o)
		}
		if n := b.writes(); n > 3 { // starting, healthy, steady
			t.Errorf("%d writes", n)
		}
		b.engine.kill("c-" + idA)
		b.pass(5 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Steady {
			t.Errorf("after a restart: %+v", o)
		}
		b.pass(20 * time.Second)
		b.stop()
		b.store.set(func() { b.store.log, b.store.values = nil, nil })
		b.start()
		b.pass(time.Minute)
		for _, value := range b.store.values {
			if strings.Contains(value, `"phase"`) && !strings.Contains(value, `"steady":true`) {
				t.Errorf("a new conductor wrote %s", value)
			}
		}
		if !b.observed(idA).Steady {
			t.Error("not steady any more")
		}
	})
}
