package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"sync"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// fakeEngine is a Docker Engine with the containers of a map. Its events are the tests' own.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]docker.Container
	err        error
	lists      int
	links      int
	gate       chan struct{} // if set, a listing made its result and waits here
}

func (f *fakeEngine) Containers(ctx context.Context, _ string) ([]docker.Container, error) {
	f.mu.Lock()
	f.lists++
	var containers []docker.Container
	for _, c := range f.containers {
		containers = append(containers, c)
	}
	err, gate := f.err, f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return containers, err
}

func (f *fakeEngine) Watch(ctx context.Context, _ url.Values, _ func(docker.Event)) error {
	<-ctx.Done()
	return ctx.Err()
}

// start runs a container, on the network dokkaa and those given as "network=address".
func (f *fakeEngine) start(id string, addr netip.Addr, links map[int]string) {
	f.put(id, "running", map[string][]netip.Addr{"dokkaa": {addr}}, links)
}

func (f *fakeEngine) put(id, state string, addrs map[string][]netip.Addr, links map[int]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.containers == nil {
		f.containers = make(map[string]docker.Container)
	}
	f.containers[id] = docker.Container{ID: id, Name: id, State: state, Addrs: addrs,
		Labels: map[string]string{labelCluster: "c", labelBackends: labelOf(links)}}
}

func labelOf(links map[int]string) string {
	names := make(map[string]string)
	for port, name := range links {
		names[fmt.Sprint(port)] = name
	}
	label, err := json.Marshal(names)
	if err != nil {
		panic(err) // a map of strings always is JSON
	}
	return string(label)
}

func (f *fakeEngine) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.containers, id)
}

func (f *fakeEngine) listings() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists
}

func (f *fakeEngine) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// addLink is what comes before a new container.
func (f *fakeEngine) addLink() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links++
}

func (f *fakeEngine) newestLink() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.links
}

func (f *fakeEngine) hold(gate chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = gate
}
