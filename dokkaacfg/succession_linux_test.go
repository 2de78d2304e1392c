package dokkaacfg

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// An ambassador takes over from another, whatever an up that was killed has left.
func TestAmbassadorsFollowEachOther(t *testing.T) {
	_, cluster := localCluster(t, "cfgamb", "10.125.0.0/24")
	if err := cluster.Up(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	e, err := connect(t.Context(), cluster.Host(1), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	images, err := readImages(builtImages)
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range images {
		if _, err := e.load(t.Context(), image, func(int64, int64) {}); err != nil {
			t.Fatal(err)
		}
	}
	host := &ambassadorHost{t: t, engine: e}

	host.run("LOG_LEVEL=info", modeVariable+"=proxy")
	first := host.settle()
	host.run("LOG_LEVEL=warn")
	second := host.settle()
	if first == second {
		t.Error("another setting made no other container")
	}

	// The new one does not come to serve: the old one gets its name back.
	host.run("LOG_LEVEL=nonsense")
	if did, err := e.restore(t.Context(), "ambassador"); !did || err != nil {
		t.Errorf("restore: %v, %v", did, err)
	}
	if now := host.settle(); now != second {
		t.Errorf("%s serves, not the one from before", now)
	}
	if did, err := e.restore(t.Context(), "ambassador"); did || err != nil {
		t.Errorf("restored what was not replaced: %v, %v", did, err)
	}

	// An up was killed after it had put the old one aside.
	container, err := e.find(t.Context(), "ambassador")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.putAside(t.Context(), container, "ambassador"); err != nil {
		t.Fatal(err)
	}
	host.run("LOG_LEVEL=info")
	host.settle()
	if container, err = e.find(t.Context(), "ambassador"); err != nil {
		t.Fatal(err)
	}
	if kept, _ := lookup(container.Config.Env, modeVariable); kept != "proxy" {
		t.Errorf("of the old one's variables it has %q", container.Config.Env)
	}

	// And one after it had told two of them to end, in this moment.
	host.run("LOG_LEVEL=warn")
	host.healthy()
	host.run("LOG_LEVEL=error")
	host.healthy()
	before, err := e.predecessors(t.Context(), "ambassador")
	if err != nil || len(before) != 2 {
		t.Fatalf("%+v, %v; want 2 that were put aside", before, err)
	}
	for _, p := range before {
		if err := e.tellToEnd(t.Context(), p, "ambassador"); err != nil {
			t.Error(err)
		}
	}
	host.settle()
}

// ambassadorHost is a host that has only ambassadors.
type ambassadorHost struct {
	t      *testing.T
	engine *engine
}

func (h *ambassadorHost) run(settings ...string) {
	h.t.Helper()
	d := daemonSpec{name: "ambassador", env: append(settings, "LISTEN_ADDR=127.0.0.1"), binds: []string{dockerSocket + ":" + dockerSocket}, kept: []string{modeVariable}}
	if _, err := h.engine.run(h.t.Context(), d); err != nil {
		h.t.Fatal(err)
	}
}

func (h *ambassadorHost) healthy() {
	h.t.Helper()
	err := poll(h.t.Context(), 20*time.Second, func(ctx context.Context) error { return h.engine.healthy(ctx, "ambassador") })
	if err != nil {
		h.t.Fatal(err)
	}
}

// settle ends what is left of others, and returns the one that serves.
func (h *ambassadorHost) settle() string {
	h.t.Helper()
	h.healthy()
	if draining, err := h.engine.relieve(h.t.Context(), "ambassador"); draining > 0 || err != nil {
		h.t.Errorf("relieve: %d drain, %v", draining, err)
	}
	containers, err := h.engine.client.ListContainers(dockerclient.ListContainersOptions{All: true, Context: h.t.Context()})
	if err != nil || len(containers) != 1 || strings.Join(containers[0].Names, "") != "/ambassador" {
		h.t.Fatalf("containers: %+v, %v", containers, err)
	}
	container, err := h.engine.find(h.t.Context(), "ambassador")
	if err != nil {
		h.t.Fatal(err)
	}
	if name := container.HostConfig.RestartPolicy.Name; name != "always" {
		h.t.Errorf("its restart policy is %s", name)
	}
	return container.ID
}
