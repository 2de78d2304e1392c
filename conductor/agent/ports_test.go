package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// TestHostPortIsWaitedFor: the container that had it before may be draining, and Docker says so in
// many words and again and again.
func TestHostPortIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ported = `{"manifest": {"image": "nginx", "services": {"nginx": {"port": 80, "host_port": 8081}}, "stop_grace_period": "1s"}, "hash": "y"}`
		b := newBench(t)
		b.engine.port = 8081 - 32768 - 1 // of the first that starts
		b.start()
		defer func() { b.stop() }()
		b.put(b.slots(ported, idA)...)
		b.pass(time.Second)
		b.engine.set(func() { b.engine.open = 1 })
		b.put(b.slots(ported, idB)...)
		b.pass(10 * time.Second)
		if o := b.observed(idB); o.Phase != state.PhaseStarting || o.Reason != "waits for host port 8081, which instance "+idA+" of dummy/nginx still has" {
			t.Errorf("observed: %+v", o)
		}
		b.engine.set(func() { b.engine.open = 0 })
		b.pass(5 * time.Second)
		if o := b.observed(idB); o.Phase != state.PhaseHealthy || o.Restarts != 0 {
			t.Errorf("observed, once the port is free: %+v", o)
		}
	})
}
