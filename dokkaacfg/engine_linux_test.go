package dokkaacfg

import (
	"errors"
	"log/slog"
	"sync"
	"testing"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// One who was killed may have asked the engine for the same a moment ago.
func TestSeveralRunTheSameDaemon(t *testing.T) {
	_, cluster := localCluster(t, "cfgrun", "10.109.0.0/24")
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
	for round := range 5 {
		errs := make([]error, 8)
		var group sync.WaitGroup
		for i := range errs {
			group.Go(func() {
				var e *engine // of its own, as that of another process
				if e, errs[i] = connect(t.Context(), cluster.Host(1), slog.New(slog.DiscardHandler)); errs[i] != nil {
					return
				}
				_, errs[i] = e.run(t.Context(), daemonSpec{name: "gateway", env: []string{"HOST_IP=127.0.0.1", "ETCD_ADDR=127.0.0.1:2379"}})
			})
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		containers, err := e.client.ListContainers(dockerclient.ListContainersOptions{Context: t.Context()})
		if err != nil || len(containers) != 1 {
			t.Fatalf("round %d: %d containers run, %v; want 1", round, len(containers), err)
		}
		if err := removeContainer(t.Context(), e.client, containers[0].ID); err != nil {
			t.Fatal(err)
		}
	}
}
