package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLongRunForgivesFailures(t *testing.T) {
	for _, ran := range []time.Duration{31 * time.Second, 44 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.start()
			defer func() { b.stop() }()
			b.assign(idA)
			for range 6 { // within less than it takes to be forgiven
				b.pass(20 * time.Second)
				b.engine.kill("c-" + idA)
			}
			starts := 0
			for starts < 7 {
				b.pass(time.Second)
				_, starts, _ = b.engine.count()
			}
			b.pass(ran)
			b.engine.kill("c-" + idA)
			b.pass(time.Second)
			if _, again, _ := b.engine.count(); again != starts+1 {
				t.Errorf("ran for %s, was not started again at once", ran)
			}
		})
	}
}
