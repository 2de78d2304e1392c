//go:build linux

package engine

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/vhost"
	"github.com/dokkaa/dokkaa/internal/vhosttest"
)

const (
	testCluster = "c0ffee"
	testImage   = "dockerfile/nginx"
)

// testHost is a virtual host with a real Docker Engine.
type testHost struct {
	*vhost.Host
	engine *Engine
	client *dockerclient.Client // to look at what the engine did, and to meddle with it
}

// newTestHost makes the host, which is gone after the test.
func newTestHost(t *testing.T) *testHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a virtual host needs root")
	}
	vhosttest.Claim(t, "enginetest")
	cluster, err := vhost.New(vhost.Options{Name: "enginetest", Subnet: netip.MustParsePrefix("10.114.0.0/24"),
		Dir: filepath.Join(t.TempDir(), "enginetest"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	down := func() {
		if err := cluster.Down(context.Background()); err != nil { // the test's own has ended
			t.Errorf("take the host down: %v", err)
		}
	}
	down() // after an earlier run that was killed
	t.Cleanup(down)
	if err := cluster.Up(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	h := &testHost{Host: cluster.Host(1)}
	h.engine = h.newEngine(t, testCluster)
	if h.client, err = h.engine.Docker.Client(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.load(t, "nginx")
	if err := h.engine.EnsureNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// newEngine is another conductor's engine on the host.
func (h *testHost) newEngine(t *testing.T, cluster string) *Engine {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	d, err := docker.New(h.DockerHost(), log)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Docker: d, Cluster: func() string { return cluster }, HostIP: h.IP().String(),
		Nameservers: []string{"192.0.2.53"}, Log: log})
}

// load loads an image of the demo's.
func (h *testHost) load(t *testing.T, name string) {
	t.Helper()
	file, err := os.Open("../../build/images/dockerfile-" + name + ".tar")
	if err != nil {
		t.Fatalf("%v: \"make images\" makes it", err)
	}
	defer file.Close()
	if err := h.client.LoadImage(dockerclient.LoadImageOptions{InputStream: file, Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
}

// spec is a container of the test image.
func spec(slot int, instance string) Spec {
	return Spec{Ref: state.Ref{App: "dummy", Name: "nginx"}, Slot: slot, Revision: 3, Instance: instance, Generation: 4,
		Name: "dummy---nginx---next-" + instance, Image: testImage, Ports: []Port{TCP(80)},
		Env: []string{"COLOUR=blue"}, Backends: map[string]string{"10001": "redis.dummy.skydns.local"},
		Links: map[string]Link{"10001": {Sticky: true}}}
}

// run creates and starts a container.
func (h *testHost) run(t *testing.T, s Spec) (id string) {
	t.Helper()
	id, err := h.engine.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.engine.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// stop removes a container.
func (h *testHost) stop(t *testing.T, id string) {
	t.Helper()
	if err := h.engine.Stop(t.Context(), id, time.Second); err != nil {
		t.Fatal(err)
	}
}

// find is the container of an instance as the engine lists it.
func (h *testHost) find(t *testing.T, instance string) (Container, bool) {
	t.Helper()
	all, err := h.engine.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Instance == instance {
			return c, true
		}
	}
	return Container{}, false
}

func (h *testHost) inspect(t *testing.T, id string) *dockerclient.Container {
	t.Helper()
	c, err := h.client.InspectContainerWithOptions(dockerclient.InspectContainerOptions{ID: id, Context: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
