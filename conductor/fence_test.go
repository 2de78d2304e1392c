package conductor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// TestMovableVolumeHasOneWriter is about a container that writes a volume of the network. Its host is
// cut off from etcd, and comes back when another host has taken over.
func TestMovableVolumeHasOneWriter(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, "10.0.0.2", "10.0.0.1")
	cut, other := f.hosts["10.0.0.1"], f.hosts["10.0.0.2"]
	if f.scheduler() != other {
		t.Fatal("the host that is to be cut off schedules")
	}
	ref := state.Ref{App: "dummy", Name: "db"}
	manifest := fmt.Sprintf(`{"image": "db", "services": {"db": %d}, "volumes": [{"name": "data", "path": "/data",
		"driver_opts": {"type": "nfs", "o": "addr=10.0.0.9", "device": ":/db"}}]}`, f.port)
	if _, err := f.store.Set(t.Context(), ref.ManifestKey(), manifest, 0); err != nil {
		t.Fatal(err)
	}
	want := map[state.Ref]int{ref: 1}
	f.wait(5*time.Second*slack, func() error { return f.placed(want) })
	if len(cut.docker.running()) == 0 {
		cut, other = other, cut
	}
	for range 2 { // there, and back again
		cut.docker.fences.Store(true)
		cut.cut(true)
		cutAt := time.Now()
		f.wait((hostTTL+10*time.Second)*slack, func() error {
			if len(other.docker.running()) == 0 {
				return errors.New("no replacement was started")
			}
			return f.unused(cut.ip)
		})
		ended, began := cut.docker.when("halt"), other.docker.when("start")
		t.Logf("cut off at 0, ended after %v, replaced after %v", ended.Sub(cutAt), began.Sub(cutAt))
		if ended.Before(cutAt) || !ended.Before(began) {
			t.Error("two hosts had the volume at once")
		}
		started := cut.docker.when("start")
		cut.cut(false)
		f.wait(10*time.Second*slack, func() error { return f.placed(want) })
		if !cut.docker.when("start").Equal(started) {
			t.Error("the host that is back started what is no longer its")
		}
		cut.docker.fences.Store(false)
		f.wait(10*time.Second*slack, cut.present)
		cut, other = other, cut
	}
}

// TestFencedInstanceStartsAgain is about a host that is cut off from etcd for a moment, alone: nobody
// may take over what it stopped.
func TestFencedInstanceStartsAgain(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, "10.0.0.1")
	ref := state.Ref{App: "dummy", Name: "batch"}
	manifest := fmt.Sprintf(`{"image": "batch", "services": {"batch": %d}, "disconnect": {"stop_on_client_after": "10s"}}`, f.port)
	if _, err := f.store.Set(t.Context(), ref.ManifestKey(), manifest, 0); err != nil {
		t.Fatal(err)
	}
	f.wait(5*time.Second*slack, func() error { return f.placed(map[state.Ref]int{ref: 1}) })
	before, host := f.assigned(), f.hosts["10.0.0.1"]
	host.docker.fences.Store(true)
	host.cut(true)
	took := f.wait(10*time.Second*slack, func() error {
		if len(host.docker.running()) > 0 {
			return errors.New("still runs")
		}
		return nil
	})
	t.Logf("stopped after %v", took)
	host.docker.fences.Store(false)
	host.cut(false)
	f.wait(10*time.Second*slack, func() error { return f.placed(map[state.Ref]int{ref: 1}) })
	f.unmoved(before)
}
