package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// TestWhatCannotBeReadStopsNothing: unknown is not empty.
func TestWhatCannotBeReadStopsNothing(t *testing.T) {
	tests := map[string]struct {
		spoil  func([]store.Node) []store.Node // the revision, and the slot
		reason string
	}{
		"slot that is no JSON":     {spoil: func(n []store.Node) []store.Node { n[1].Value = "{"; return n }},
		"slot that is null":        {spoil: func(n []store.Node) []store.Node { n[1].Value = "null"; return n }},
		"slot that is a text":      {spoil: func(n []store.Node) []store.Node { n[1].Value = `"x"`; return n }},
		"slot that is empty":       {spoil: func(n []store.Node) []store.Node { n[1].Value = ""; return n }},
		"slot without an instance": {spoil: func(n []store.Node) []store.Node { n[1].Value = `{"current": {"host": "10.0.0.1"}}`; return n }},
		"revision that is no JSON": {spoil: func(n []store.Node) []store.Node { n[0].Value = "{"; return n }, reason: "read revision 1"},
		"manifest of the future": {spoil: func(n []store.Node) []store.Node { n[0].Value = `{"manifest": {"image": "x", "magic": 1}}`; return n },
			reason: "this host's conductor does not understand revision 1"},
		"revision that is missing": {spoil: func(n []store.Node) []store.Node { return n[1:] }, reason: "revision 1 is not there"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.start()
				b.assign(idA)
				b.pass(time.Minute)
				before, observed := b.record(idA), b.observed(idA)
				b.put(test.spoil(b.slots(nginxRevision, idA))...)
				b.pass(10 * time.Minute)
				b.stop()
				b.start() // a new conductor knows no better
				defer func() { b.stop() }()
				b.pass(10 * time.Minute)
				if want := []string{"start c-" + idA}; !slices.Equal(b.engine.log, want) {
					t.Errorf("did %q", b.engine.log)
				}
				deleted := func(w string) bool { return strings.HasPrefix(w, "delete") }
				if got := b.record(idA); got != before || slices.ContainsFunc(b.store.log, deleted) {
					t.Errorf("record %q, was %q; wrote %q", got, before, b.store.log)
				}
				if o := b.observed(idA); o.Phase != observed.Phase || !strings.HasPrefix(o.Reason, test.reason) {
					t.Errorf("observed: %+v", o)
				}
				b.assign(idA)
				b.pass(10 * time.Second)
				if o := b.observed(idA); o.Phase != state.PhaseHealthy || o.Reason != "" || o.Ports["nginx"] == 0 || b.record(idA) != before {
					t.Errorf("once it can be read: observed: %+v", o)
				}
				b.assign()
				b.pass(10 * time.Second)
				if n, _, _ := b.engine.count(); n != 0 || b.record(idA) != "" {
					t.Error("is not removed any more")
				}
			})
		})
	}
}
