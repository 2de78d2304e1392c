package conductor

import (
	"errors"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// TestVolumesOfAHost follows a volume from Docker into the store, and a request to remove it back.
func TestVolumesOfAHost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, "10.0.0.1")
	h := f.hosts["10.0.0.1"]
	const name = "dummy---db---data"
	h.docker.mu.Lock()
	h.docker.volumes = map[string]state.Volume{name: {Ref: state.Ref{App: "dummy", Name: "db"}, Slot: 1, Volume: "data", Driver: "local"}}
	h.docker.mu.Unlock()
	h.conductor.agent.VolumesHint()
	key, request := state.VolumeKey(h.ip, name), state.RemovalKey(h.ip, name)
	f.wait(5*time.Second*slack, func() error {
		_, err := f.store.Get(t.Context(), key)
		return err
	})
	if _, err := f.store.Set(t.Context(), request, "", 0); err != nil {
		t.Fatal(err)
	}
	took := f.wait(5*time.Second*slack, func() error {
		for _, key := range []string{key, request} {
			if _, err := f.store.Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
				return errors.Join(errors.New("still there: "+key), err)
			}
		}
		return nil
	})
	t.Logf("removed after %v", took)
	if there, err := h.docker.Volumes(t.Context()); err != nil || len(there) > 0 {
		t.Errorf("Docker has %v, %v", there, err)
	}
}
