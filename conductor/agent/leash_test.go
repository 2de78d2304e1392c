package agent

import (
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

const (
	movable = `"volumes": [{"name": "data", "path": "/data", "driver_opts": {"type": "nfs", "o": "addr=10.0.0.9", "device": ":/data"}}]`
	local   = `"volumes": [{"name": "data", "path": "/data"}]`
)

func TestLeashIsWhatTheManifestAsksFor(t *testing.T) {
	for fields, want := range map[string]leash{
		`"scale": 1`: {},
		local:        {},
		movable:      {fenced: true},
		`"disconnect": {"stop_on_client_after": "1m"}`:                                 {stop: time.Minute},
		`"disconnect": {"stop_on_client_after": "1m", "lost_after": "2m"}`:             {stop: time.Minute},
		`"disconnect": {"lost_after": "2m"}, ` + movable:                               {fenced: true},
		`"disconnect": {"lost_after": "2m", "stop_on_client_after": "1m"}, ` + movable: {fenced: true, stop: time.Minute, lost: 2 * time.Minute},
	} {
		m, err := manifest.Parse([]byte(`{"image": "nginx", ` + fields + `}`))
		if err != nil {
			t.Fatalf("%s: %v", fields, err)
		}
		got := leashOf(m)
		if got != want {
			t.Errorf("%s: %+v, want %+v", fields, got, want)
		}
		if read := parseLeash(got.String()); read != want {
			t.Errorf("%q is read as %+v, want %+v", got.String(), read, want)
		}
	}
}

func TestLeashIsTheRevisionsAndElseTheContainers(t *testing.T) {
	c := engine.Container{Ref: refN, Revision: 1, Leash: "fenced"}
	if got := leashed(c, store.NewSnapshot(1)); got != (leash{fenced: true}) {
		t.Errorf("without a revision it is %+v", got)
	}
	revision := store.Node{Key: refN.RevisionKey(1), Value: `{"manifest": {"image": "nginx", "disconnect": {"stop_on_client_after": "1m"}}}`}
	if got := leashed(c, store.NewSnapshot(1, revision)); got != (leash{stop: time.Minute}) {
		t.Errorf("it is %+v", got)
	}
	if got := parseLeash("fenced by the moon 3s"); got != (leash{fenced: true, stop: 3 * time.Second}) {
		t.Errorf("of a later version's words it understands %+v", got)
	}
}

// TestFencedContainerEndsBeforeItsLease is of what the scheduler leans on: whenever it is stopped, a
// fenced container has ended when the lease has, or when others may start it.
func TestFencedContainerEndsBeforeItsLease(t *testing.T) {
	const ttl = 8 * time.Second
	renewed := time.Now()
	for name, test := range map[string]struct {
		leash
		ends, late, asked, grace time.Duration
	}{
		"fenced":                  {leash: leash{fenced: true}, ends: 6 * time.Second, asked: 10 * time.Second, grace: time.Second},
		"fenced, a little late":   {leash: leash{fenced: true}, ends: 6 * time.Second, late: 400 * time.Millisecond, asked: 10 * time.Second, grace: time.Second},
		"fenced, later":           {leash: leash{fenced: true}, ends: 6 * time.Second, late: time.Second, asked: 10 * time.Second},
		"fenced, much later":      {leash: leash{fenced: true}, ends: 6 * time.Second, late: time.Minute, asked: 10 * time.Second},
		"fenced and quick":        {leash: leash{fenced: true}, ends: 6 * time.Second},
		"fenced, given up later":  {leash: leash{fenced: true, stop: time.Minute, lost: 2 * time.Minute}, ends: time.Minute, asked: 10 * time.Second, grace: 10 * time.Second},
		"fenced, given up soon":   {leash: leash{fenced: true, stop: 20 * time.Second, lost: 24 * time.Second}, ends: 20 * time.Second, asked: 10 * time.Second, grace: 3 * time.Second},
		"stopped":                 {leash: leash{stop: time.Minute}, ends: time.Minute, late: time.Hour, asked: 10 * time.Second, grace: 10 * time.Second},
		"stopped before it could": {leash: leash{stop: time.Second}, ends: 6 * time.Second, asked: 10 * time.Second, grace: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.leash.ends(renewed, ttl); got != renewed.Add(test.ends) {
				t.Errorf("ends after %s, want %s", got.Sub(renewed), test.ends)
			}
			if got := test.leash.grace(test.asked, renewed.Add(test.ends+test.late), renewed, ttl); got != test.grace {
				t.Errorf("has a grace of %s, want %s", got, test.grace)
			}
		})
	}
}
