package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/seal"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// bench is an agent with a Docker and a store around it that live in memory and in virtual time.
type bench struct {
	t      *testing.T
	agent  *Agent
	engine *fakeEngine
	store  *fakeStore
	apps   *fakeMirror
	lease  *fakeLease
	stop   func()

	removals  *fakeMirror
	secretKey func() (seal.Key, error)
	log       bytes.Buffer
}

// nginxRevision is the revision that most tests run.
const nginxRevision = `{"manifest": {"image": "nginx", "services": {"nginx": 80}}, "hash": "x"}`

func newBench(t *testing.T) *bench {
	b := &bench{t: t, engine: &fakeEngine{containers: map[string]*engine.Container{}, images: map[string]bool{"nginx": true}},
		store: &fakeStore{keys: map[string]string{}}, apps: &fakeMirror{}, removals: &fakeMirror{}, lease: &fakeLease{}}
	b.engine.store = b.store
	b.apps.set(store.NewSnapshot(1))
	return b
}

// start runs the agent until the test ends or b.stop is called.
func (b *bench) start() {
	b.agent = New(Options{HostIP: "10.0.0.1", Engine: b.engine, Apps: b.apps, Store: b.store, Lease: b.lease.life,
		Connections: b.engine.connections, Removals: b.removals, SecretKey: b.secretKey,
		Log: slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	b.agent.prober.dial, b.agent.prober.get = b.engine.dial, b.engine.get
	b.engine.changed = b.agent.EngineHint
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	fenced := make(chan struct{})
	go func() { defer close(done); _ = b.agent.Run(ctx) }()     // its only error is none
	go func() { defer close(fenced); _ = b.agent.Fence(ctx) }() // likewise
	b.stop = func() { cancel(); <-done; <-fenced }
	synctest.Wait()
}

// assign makes the slots of dummy/nginx what is given: the instances by slot, on this host.
func (b *bench) assign(instances ...string) {
	b.put(b.slots(nginxRevision, instances...)...)
}

// assignPortless is assign of a container that offers no service.
func (b *bench) assignPortless(instances ...string) {
	b.put(b.slots(`{"manifest": {"image": "nginx"}, "hash": "x"}`, instances...)...)
}

// slots are the keys of a revision and of instances of it.
func (b *bench) slots(revision string, instances ...string) []store.Node {
	nodes := []store.Node{{Key: refN.RevisionKey(1), Value: revision}}
	for i, id := range instances {
		if id != "" {
			slot, err := json.Marshal(state.Slot{Current: &state.Assignment{Host: "10.0.0.1", Revision: 1, Instance: id}})
			if err != nil {
				b.t.Fatal(err)
			}
			nodes = append(nodes, store.Node{Key: refN.SlotKey(i + 1), Value: string(slot)})
		}
	}
	return nodes
}

// put makes the keys below /apps what is given.
func (b *bench) put(nodes ...store.Node) {
	b.apps.set(store.NewSnapshot(2, nodes...))
	if b.agent != nil {
		b.agent.Hint()
	}
	synctest.Wait()
}

// pass lets virtual time go on.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) observed(id string) state.Observed {
	b.t.Helper()
	var o state.Observed
	if value, ok := b.store.get(state.InstanceKey("10.0.0.1", id)); ok {
		if err := json.Unmarshal([]byte(value), &o); err != nil {
			b.t.Fatal(err)
		}
	}
	return o
}

func (b *bench) record(id string) string {
	value, _ := b.store.get(state.RecordKey("dummy", "nginx", id))
	return value
}

const leaseTTL = 8 * time.Second
