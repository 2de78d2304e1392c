//go:build linux

package identity

import (
	"context"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// hostIsRefused: who has the host's network cannot be told from the host, and is told so.
func (w *world) hostIsRefused() {
	w.t.Helper()
	ctx := w.t.Context()
	id, err := w.start(ctx, caller{number: 60000, network: "host", ambassador: gateway4, port: 10001, connections: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	if code, err := w.wait(ctx, id); err != nil || code == 0 {
		w.t.Errorf("a container with the host's network ended with %d, %v", code, err)
	}
	if n := w.metric(`refused_total{reason="host"}`); n != "1" {
		w.t.Errorf("refused %s times for it", n)
	}
	if err := w.remove(ctx, id); err != nil {
		w.t.Error(err)
	}
}

// cannotSpoof: a container such as the conductor makes has no way to call from another's address.
func (w *world) cannotSpoof() {
	w.t.Helper()
	ctx := w.t.Context()
	victim, err := w.start(ctx, caller{number: 60001, network: network, ambassador: gateway4, port: 10001, connections: 1e6})
	if err != nil {
		w.t.Fatal(err)
	}
	container, err := w.client.InspectContainerWithOptions(dockerclient.InspectContainerOptions{ID: victim, Context: ctx})
	if err != nil {
		w.t.Fatal(err)
	}
	spoofer, err := w.start(ctx, caller{number: 60002, network: network, ambassador: gateway4, port: 10001,
		victim: container.NetworkSettings.Networks[network].IPAddress})
	if err != nil {
		w.t.Fatal(err)
	}
	if code, err := w.wait(ctx, spoofer); err != nil || code != 0 {
		w.t.Errorf("the spoofer ended with %d, %v: %s", code, err, w.logs(ctx, spoofer))
	}
	w.t.Logf("a spoofer is told:\n%s", w.logs(ctx, spoofer))
	for _, id := range []string{victim, spoofer} {
		if err := w.remove(ctx, id); err != nil {
			w.t.Error(err)
		}
	}
}

// goesOnWithoutDocker: not one connection of those who were there fails while the Engine hangs, is
// killed, and comes back.
func (w *world) goesOnWithoutDocker() {
	w.t.Helper()
	const callers, away = 5, 1500 * time.Millisecond
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	var ids []string
	for i := range callers {
		id, err := w.start(ctx, caller{number: 61000 + i, network: network, ambassador: gateway4, port: 10001 + i, connections: 1e6})
		if err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	pause(ctx, time.Second)
	steps := []struct {
		name string
		do   func() error
	}{
		{"pause the Engine", w.host.PauseDocker},
		{"resume the Engine", w.host.ResumeDocker},
		{"kill the Engine", func() error { return w.host.KillDocker(ctx) }},
		{"start the Engine", func() error { return w.host.StartDocker(ctx) }},
	}
	for _, step := range steps {
		before := w.metric("connections_total")
		if err := step.do(); err != nil {
			w.t.Fatalf("%s: %v", step.name, err)
		}
		pause(ctx, away)
		if after := w.metric("connections_total"); after == before {
			w.t.Errorf("%s: nobody calls any more", step.name)
		}
	}
	for i, id := range ids {
		if err := w.client.StopContainerWithContext(id, 5, ctx); err != nil {
			w.t.Error(err)
		}
		if code, err := w.wait(ctx, id); err != nil || code != 0 {
			w.t.Errorf("caller %d ended with %d, %v: %s", i, code, err, w.logs(ctx, id))
		}
		if err := w.remove(ctx, id); err != nil {
			w.t.Error(err)
		}
	}
}
