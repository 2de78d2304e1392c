package agent

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func instances(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("i%012x", i)
	}
	return ids
}

func TestNotEverythingIsDoneAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.takes = time.Second
		b.start()
		defer func() { b.stop() }()
		b.assign(instances(20)...)
		b.pass(5*time.Second + 500*time.Millisecond)
		if _, starts, _ := b.engine.count(); starts != 20 || b.engine.peak("start") != startPlaces {
			t.Errorf("%d starts in the time of 5, %d at a time", starts, b.engine.peak("start"))
		}
		b.pass(time.Minute)
		b.assign()
		b.pass(forgotten + 4*time.Second)
		if n, _, _ := b.engine.count(); n != 0 || b.engine.peak("stop") != stopPlaces {
			t.Errorf("%d containers left after the drain and the time of 3 stops, %d at a time", n, b.engine.peak("stop"))
		}
	})
}

func TestPullsHoldUpNoStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.images, b.engine.takes = nil, 20*time.Second
		b.start()
		defer func() { b.stop() }()
		b.assign(instances(20)...)
		b.pass(time.Second)
		b.engine.set(func() { b.engine.images, b.engine.takes = map[string]bool{"nginx": true}, 0 })
		b.assign(append(instances(20), idA)...)
		b.pass(time.Second)
		if b.record(idA) == "" {
			t.Error("waits for the images of others")
		}
		if n := b.engine.peak("pull"); n != pullPlaces {
			t.Errorf("%d pulls at a time", n)
		}
	})
}
