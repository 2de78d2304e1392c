//go:build linux

package engine

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/state"
)

// mount is a volume of the test's container.
func mount(s Spec, volume string) Mount {
	return Mount{Volume: state.Volume{Ref: s.Ref, Slot: s.Slot, Volume: volume, Driver: "local"},
		Name: "dummy---nginx---" + volume, Path: "/srv/" + volume}
}

// inside is the path in the running container as the machine sees it.
func (h *testHost) inside(t *testing.T, id, path string) string {
	t.Helper()
	return filepath.Join(h.proc(t, id), "root", path)
}

func testVolumes(t *testing.T, h *testHost) {
	s := spec(20, "ivolumes")
	data, shared, static := mount(s, "data"), mount(s, "shared"), mount(s, "static")
	shared.Slot = 0
	static.ReadOnly, static.DriverOpts = true, map[string]string{"type": "tmpfs", "device": "tmpfs"}
	s.Mounts = []Mount{data, shared, static}
	id := h.run(t, s)
	if err := os.WriteFile(h.inside(t, id, "/srv/data/kept"), []byte("kept"), 0o600); err != nil {
		t.Error(err)
	}
	for _, m := range h.inspect(t, id).Mounts {
		if m.Name == "" || m.RW == (m.Destination == "/srv/static") {
			t.Errorf("mounted %+v", m)
		}
	}
	c, _ := h.find(t, s.Instance)
	if slices.Sort(c.Volumes); !slices.Equal(c.Volumes, []string{data.Name, shared.Name}) {
		t.Errorf("may write to %q", c.Volumes)
	}
	if err := h.engine.RemoveVolume(t.Context(), data.Name); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("removed a volume that is in use: %v", err)
	}
	h.stop(t, id)

	got, err := h.engine.Volumes(t.Context())
	want := map[string]state.Volume{data.Name: data.Volume, shared.Name: shared.Volume, static.Name: static.Volume}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("volumes %+v, %v, want %+v", got, err, want)
	}
	if got, err := h.newEngine(t, "another").Volumes(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("another cluster's volumes: %v, %v", got, err)
	}

	if err := errors.Join(h.KillDocker(t.Context()), h.StartDocker(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.Instance, s.Name = "iagain", "dummy---nginx---next-iagain" // its successor
	id = h.run(t, s)
	if kept, err := os.ReadFile(h.inside(t, id, "/srv/data/kept")); string(kept) != "kept" {
		t.Errorf("the successor finds %q, %v", kept, err)
	}
	h.stop(t, id)
	for range 2 { // what is gone is removed
		for name := range want {
			if err := h.engine.RemoveVolume(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	}
	if got, err := h.engine.Volumes(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("after all were removed: %v, %v", got, err)
	}
}

// testOtherVolumes is about volumes that are not what the manifest means.
func testOtherVolumes(t *testing.T, h *testHost) {
	s := spec(21, "iothervolumes")
	taken, another, changed := mount(s, "taken"), mount(s, "another"), mount(s, "changed")
	for name, labels := range map[string]map[string]string{taken.Name: nil, another.Name: volumeLabels(another.Volume, "another"),
		changed.Name: volumeLabels(changed.Volume, testCluster)} {
		if _, err := h.client.CreateVolume(dockerclient.CreateVolumeOptions{Name: name, Labels: labels, Context: t.Context()}); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := h.client.RemoveVolumeWithOptions(dockerclient.RemoveVolumeOptions{Name: name, Context: t.Context()}); err != nil {
				t.Error(err)
			}
		}()
	}
	changed.DriverOpts = map[string]string{"type": "nfs"}
	for wrong, m := range map[string]Mount{
		taken.Name + " is taken by a volume that is not of this cluster":   taken,
		another.Name + " is taken by a volume that is not of this cluster": another,
		changed.Name + " was made with other driver_opts":                  changed,
	} {
		s.Mounts = []Mount{m}
		if _, err := h.engine.Create(t.Context(), s); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("mounted: %v, want %q", err, wrong)
		}
	}
	for name, wrong := range map[string]string{taken.Name: "not a volume of this cluster", another.Name: "not a volume of this cluster",
		"../containers": "not the name"} {
		if err := h.engine.RemoveVolume(t.Context(), name); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("removed %s: %v, want %q", name, err, wrong)
		}
	}
}
