package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

func TestDrained(t *testing.T) {
	const never = time.Hour
	for name, test := range map[string]struct {
		since, timeout time.Duration
		left           int
		known, want    bool
	}{
		"nobody left, but some may still be sent": {since: forgotten - 1, timeout: never, known: true},
		"nobody left and nobody is sent":          {since: forgotten, timeout: never, known: true, want: true},
		"somebody left":                           {since: never - 1, timeout: never, left: 1, known: true},
		"somebody left, their time is over":       {since: never, timeout: never, left: 1, known: true, want: true},
		"not known":                               {since: never - 1, timeout: never},
		"not known, the time is over":             {since: never, timeout: never, want: true},
		"a timeout shorter than a record lives":   {since: time.Second, timeout: time.Second, left: 1, known: true, want: true},
		"no time at all":                          {want: true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := drained(test.since, test.timeout, test.left, test.known); got != test.want {
				t.Errorf("drained is %v", got)
			}
		})
	}
}

func TestEndingIsWhatTheRevisionSays(t *testing.T) {
	revision := func(text string) store.Snapshot {
		return store.NewSnapshot(1, store.Node{Key: refN.RevisionKey(3), Value: text})
	}
	defaults := ending{serves: true, ports: []int{80, 443}, timeout: 30 * time.Second, grace: 10 * time.Second}
	c := engine.Container{Ref: refN, Revision: 3, Ports: map[engine.Port]int{engine.TCP(443): 32769, engine.TCP(80): 32768}}
	for name, test := range map[string]struct {
		snapshot store.Snapshot
		want     ending
	}{
		"its own": {revision(`{"manifest": {"image": "nginx", "services": {"b": 81, "a": 80}, "drain_timeout": "2m", "stop_grace_period": "1s"}}`),
			ending{serves: true, ports: []int{80, 81}, timeout: 2 * time.Minute, grace: time.Second}},
		"datagrams": {revision(`{"manifest": {"image": "nginx", "services": {"b": 81, "a": {"port": 53, "protocol": "udp"}}}}`),
			ending{serves: true, ports: []int{81}, timeout: 30 * time.Second, grace: 10 * time.Second}},
		"datagrams only": {revision(`{"manifest": {"image": "nginx", "services": {"a": {"port": 53, "protocol": "udp"}}}}`),
			ending{serves: true, timeout: 30 * time.Second, grace: 10 * time.Second}},
		"defaults":            {revision(`{"manifest": {"image": "nginx"}}`), ending{timeout: 30 * time.Second, grace: 10 * time.Second}},
		"gone":                {store.NewSnapshot(1), defaults},
		"never seen":          {store.Snapshot{}, defaults},
		"not a revision":      {revision(`[]`), defaults},
		"of a later version":  {revision(`{"manifest": {"image": "nginx", "teleport": true}}`), defaults},
		"without a manifest":  {revision(`{}`), defaults},
		"somebody else's one": {store.NewSnapshot(1, store.Node{Key: refN.RevisionKey(2), Value: nginxRevision}), defaults},
	} {
		t.Run(name, func(t *testing.T) {
			got := endingOf(c, test.snapshot)
			if !slices.Equal(got.ports, test.want.ports) || got.serves != test.want.serves || got.timeout != test.want.timeout || got.grace != test.want.grace {
				t.Errorf("ends by %+v, want %+v", got, test.want)
			}
		})
	}
}

// ending starts an instance of the manifest and takes it away.
func (b *bench) ending(manifest string) {
	revision := `{"manifest": ` + manifest + `, "hash": "x"}`
	b.put(b.slots(revision, idA)...)
	b.pass(time.Minute)
	b.engine.log = nil
	b.put(b.slots(revision)...)
}

// runs tells whether the container is still there.
func (b *bench) runs() bool {
	n, _, _ := b.engine.count()
	return n > 0
}

func TestLongAnswerOutlivesTheInstancesRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.engine.set(func() { b.engine.open = 2 })
		b.ending(`{"image": "nginx", "services": {"nginx": 80}, "stop_grace_period": "3s"}`)
		b.pass(7 * time.Second)
		if o := b.observed(idA); o.Phase != state.PhaseStopping || o.Reason != "draining: 2 connections left" || b.record(idA) != "" {
			t.Errorf("observed: %+v, record %q", o, b.record(idA))
		}
		b.engine.set(func() { b.engine.open = 1 })
		b.pass(4 * time.Second)
		if o := b.observed(idA); !b.runs() || o.Reason != "draining: 1 connection left" {
			t.Errorf("observed: %+v, runs: %v", o, b.runs())
		}
		b.engine.set(func() { b.engine.open = 0 })
		b.pass(drainPoll)
		if b.runs() || !slices.Equal(b.engine.graces, []string{"3s"}) {
			t.Errorf("nobody is left, runs: %v, stopped with a grace of %s", b.runs(), b.engine.graces)
		}
		b.pass(time.Second)
		if o := b.observed(idA); o.Phase != "" {
			t.Errorf("observed key is left: %+v", o)
		}
	})
}

func TestDrainTimesOut(t *testing.T) {
	away := errors.New("connection refused")
	for name, test := range map[string]struct {
		manifest  string
		open      int
		uncounted error
		after     time.Duration
		reason    string
	}{
		"somebody stays":       {manifest: `{"image": "nginx", "services": {"nginx": 80}}`, open: 3, after: 30 * time.Second, reason: "3 connections left"},
		"as the manifest says": {manifest: `{"image": "nginx", "services": {"nginx": 80}, "drain_timeout": "1m"}`, open: 3, after: time.Minute, reason: "3 connections left"},
		"nobody can say":       {manifest: `{"image": "nginx", "services": {"nginx": 80}}`, uncounted: away, after: 30 * time.Second, reason: "not known"},
		"nobody stays":         {manifest: `{"image": "nginx", "services": {"nginx": 80}}`, after: forgotten},
		"hasty":                {manifest: `{"image": "nginx", "services": {"nginx": 80}, "drain_timeout": "2s"}`, open: 3, after: 2 * time.Second},
		"no services":          {manifest: `{"image": "nginx"}`, open: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.start()
				defer func() { b.stop() }()
				b.engine.set(func() { b.engine.open, b.engine.uncounted = test.open, test.uncounted })
				b.ending(test.manifest)
				if test.after > 0 {
					b.pass(test.after - time.Millisecond)
					if o := b.observed(idA); !b.runs() || !strings.HasSuffix(o.Reason, test.reason) {
						t.Errorf("runs: %v, observed %+v", b.runs(), o)
					}
				}
				b.pass(withdrawPoll + time.Millisecond)
				if b.runs() {
					t.Errorf("still runs after %s", test.after)
				}
			})
		})
	}
}

func TestDrainIsTakenUpByTheNextConductor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		b.engine.set(func() { b.engine.open = 1 })
		b.ending(`{"image": "nginx", "services": {"nginx": 80}, "drain_timeout": "1m"}`)
		b.pass(20 * time.Second)
		b.stop()
		b.start()
		defer func() { b.stop() }()
		b.pass(forgotten)
		if o := b.observed(idA); !b.runs() || o.Phase != state.PhaseStopping {
			t.Errorf("runs: %v, observed %+v", b.runs(), o)
		}
		b.engine.set(func() { b.engine.open = 0 })
		b.pass(time.Second)
		if b.runs() {
			t.Error("still runs")
		}
	})
}

func TestDrainTellsSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		defer func() { b.stop() }()
		b.engine.set(func() { b.engine.open = 1 })
		b.ending(`{"image": "nginx", "services": {"nginx": 80}, "drain_timeout": "1h"}`)
		b.pass(forgotten + time.Second)
		before, _ := b.store.count()
		for n := range 600 {
			b.engine.set(func() { b.engine.open = 1 + n%7 })
			b.pass(100 * time.Millisecond)
		}
		if after, _ := b.store.count(); after-before > 21 {
			t.Errorf("%d writes in a minute", after-before)
		}
	})
}
