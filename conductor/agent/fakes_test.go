package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/seal"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
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

// fakeLease is the host's lease, which is renewed every 2 seconds unless it is cut off.
type fakeLease struct {
	mu  sync.Mutex
	cut bool
	at  time.Time // last renewal while it is cut off
}

func (l *fakeLease) life() (renewed time.Time, ttl time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return l.at, leaseTTL
	}
	return time.Now().Truncate(2 * time.Second), leaseTTL
}

// loseAt makes the lease be renewed for the last time then; zero: never by this process.
func (l *fakeLease) loseAt(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.at = true, at
}

func (l *fakeLease) regain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

type fakeMirror struct {
	mu       sync.Mutex
	snapshot store.Snapshot
}

func (m *fakeMirror) Snapshot() store.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot
}

// Changed compares both as a whole.
func (m *fakeMirror) Changed(since, until store.Snapshot) (keys []string, all bool) {
	if !since.Listed {
		return nil, true
	}
	for n := range since.All("") {
		if now, there := until.Get(n.Key); !there || now != n {
			keys = append(keys, n.Key)
		}
	}
	for n := range until.All("") {
		if _, there := since.Get(n.Key); !there {
			keys = append(keys, n.Key)
		}
	}
	return keys, false
}

func (m *fakeMirror) set(s store.Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot = s
}

// unknow makes the mirror lose the store, keeping its content.
func (m *fakeMirror) unknow() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot.Known, m.snapshot.Err = false, store.ErrUnavailable
}

// know makes it the store's content again.
func (m *fakeMirror) know() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot.Known, m.snapshot.Err = true, nil
}

type fakeStore struct {
	mu   sync.Mutex
	keys map[string]string
	away bool
	file string   // a key below which nothing can be written, for it is none of a directory
	log  []string // of writes, and keys that were read
	// values are what was written.
	values []string
	// tries counts writes, also those that failed, lists lists.
	tries, lists int
	pruned       []string // directories that were empty
}

func (s *fakeStore) get(key string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.keys[key]
	return value, ok
}

func (s *fakeStore) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *fakeStore) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *fakeStore) count() (tries, lists int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries, s.lists
}

func (s *fakeStore) List(_ context.Context, dir string) (store.Listing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return store.Listing{}, store.ErrUnavailable
	}
	s.lists++
	var l store.Listing
	for key, value := range s.keys {
		if strings.HasPrefix(key, dir+"/") {
			l.Nodes = append(l.Nodes, store.Node{Key: key, Value: value})
		}
	}
	return l, nil
}

func (s *fakeStore) Get(_ context.Context, key string) (store.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return store.Node{}, store.ErrUnavailable
	}
	value, there := s.keys[key]
	if !there {
		return store.Node{}, fmt.Errorf("get %s: %w", key, store.ErrNotFound)
	}
	s.log = append(s.log, "get "+key)
	return store.Node{Key: key, Value: value}, nil
}

// CompareAndSwap knows no indexes: it succeeds where the key is there.
func (s *fakeStore) CompareAndSwap(ctx context.Context, key, value string, _ uint64) (store.Node, error) {
	if _, err := s.Get(ctx, key); err != nil {
		return store.Node{}, err
	}
	return s.Set(ctx, key, value, 0)
}

func (s *fakeStore) Set(_ context.Context, key, value string, _ time.Duration) (store.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	switch {
	case s.away:
		return store.Node{}, store.ErrUnavailable
	case s.file != "" && strings.HasPrefix(key, s.file+"/"):
		return store.Node{}, fmt.Errorf("set %s: %w", key, store.ErrNotDir)
	}
	s.keys[key] = value
	s.log = append(s.log, "set "+key)
	s.values = append(s.values, value)
	return store.Node{}, nil
}

func (s *fakeStore) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return store.ErrUnavailable
	}
	if _, ok := s.keys[key]; !ok {
		return store.ErrNotFound
	}
	delete(s.keys, key)
	s.log = append(s.log, "delete "+key)
	return nil
}

func (s *fakeStore) DeleteEmptyDir(_ context.Context, dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return store.ErrUnavailable
	}
	for key := range s.keys {
		if strings.HasPrefix(key, dir+"/") {
			return nil
		}
	}
	s.pruned = append(s.pruned, dir)
	return nil
}

var errRefused = errors.New("connection refused")

type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]*engine.Container // by id
	images     map[string]bool
	deaf       error // why containers accept no connections
	hangs      bool  // nothing is answered
	short      bool  // containers exit as soon as they are started
	port       int
	starts     int
	fails      map[Kind]error  // why an action cannot be done
	tries      map[Kind]int    // how often it was tried
	orphans    map[string]bool // containers whose network is gone
	exit       engine.Exit     // how containers end
	takes      time.Duration   // that a start, stop or pull takes
	now, most  map[string]int  // of these at the same time
	started    map[string]time.Time
	health     engine.Health // of containers as they start
	status     int           // of pages
	exec       engine.Exec   // how commands end
	execErr    error
	pullErr    error
	startErr   error
	execs      int
	pulls      int
	log        []string
	store      *fakeStore
	changed    func()
	open       int           // connections to each container
	uncounted  error         // why they cannot be counted
	graces     []string      // of stops
	halts      int           // that were tried
	dying      time.Duration // that a container takes to end after SIGTERM
	fakeStorage
}

func (e *fakeEngine) connections(context.Context, netip.Addr, []int) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open, e.uncounted
}

func (e *fakeEngine) List(ctx context.Context) ([]engine.Container, error) {
	e.mu.Lock()
	hangs := e.hangs
	e.mu.Unlock()
	if hangs {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []engine.Container
	for _, c := range e.containers {
		is := *c
		if is.Status == engine.StatusRunning {
			is.Up = time.Since(e.started[c.ID]).Truncate(time.Second)
		}
		all = append(all, is)
	}
	return all, nil
}

func (e *fakeEngine) Create(_ context.Context, spec engine.Spec) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.images[spec.Image] {
		return "", engine.ErrNoImage
	}
	id := "c-" + spec.Instance
	defer e.mount(id, spec)
	e.containers[id] = &engine.Container{Ref: spec.Ref, Slot: spec.Slot, Revision: spec.Revision, Instance: spec.Instance, Leash: spec.Leash,
		ID: id, Name: spec.Name, Status: engine.StatusCreated}
	return id, nil
}

func (e *fakeEngine) Exit(context.Context, string) (engine.Exit, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.exit, nil
}

// spend takes the time that something takes, and counts how much of it is done at the same time.
func (e *fakeEngine) spend(ctx context.Context, what string) {
	count := func(n int) (takes time.Duration) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.now == nil {
			e.now, e.most = map[string]int{}, map[string]int{}
		}
		e.now[what] += n
		e.most[what] = max(e.most[what], e.now[what])
		return e.takes
	}
	takes := count(1)
	defer count(-1)
	if takes > 0 {
		_ = sleep(ctx, takes) // one that is not waited for has no effect here either
	}
}

// peak is how much of something was done at the same time at most.
func (e *fakeEngine) peak(what string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most[what]
}

func (e *fakeEngine) Pull(ctx context.Context, image string) error {
	e.spend(ctx, "pull")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pulls++
	if e.pullErr != nil {
		return e.pullErr
	}
	return e.pulled(image)
}

func (e *fakeEngine) Start(ctx context.Context, id string) error {
	e.spend(ctx, "start")
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.containers[id]
	if e.orphans[id] {
		return engine.ErrNoNetwork
	}
	if e.startErr != nil {
		if e.tries == nil {
			e.tries = map[Kind]int{}
		}
		e.tries[Restart]++
		return e.startErr
	}
	e.checkVolumes(c)
	e.starts++
	e.port++
	if e.started == nil {
		e.started = map[string]time.Time{}
	}
	e.started[id] = time.Now()
	c.Status, c.Addr, c.Ports = engine.StatusRunning, netip.MustParseAddr("172.30.0.2"), map[int]int{80: 32768 + e.port}
	c.Health = e.health
	if e.short {
		c.Status, c.Detail, c.Ports = engine.StatusExited, "Exited (1) 1 second ago", nil
	}
	e.log = append(e.log, "start "+id)
	return nil
}

func (e *fakeEngine) Rename(_ context.Context, id, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.try(Rename); err != nil {
		return err
	}
	e.containers[id].Name = name
	return nil
}

func (e *fakeEngine) Stop(ctx context.Context, id string, grace time.Duration) error {
	e.spend(ctx, "stop")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.graces = append(e.graces, grace.String())
	if err := e.try(Remove); err != nil {
		return err
	}
	delete(e.containers, id)
	delete(e.orphans, id)
	e.log = append(e.log, "stop "+id)
	return nil
}

// Halt ends a container as SIGTERM does, or SIGKILL after the grace.
func (e *fakeEngine) Halt(ctx context.Context, id string, grace time.Duration) error {
	e.spend(ctx, "stop")
	e.mu.Lock()
	hangs, dying := e.hangs, min(grace, e.dying)
	e.halts++
	e.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := sleep(ctx, dying); err != nil {
		return err
	}
	e.mu.Lock()
	c := e.containers[id]
	c.Status, c.Detail, c.Ports, c.Addr, c.Health = engine.StatusExited, "Exited (143) 1 second ago", nil, netip.Addr{}, engine.HealthNone
	e.log = append(e.log, fmt.Sprintf("halt %s after %s", id, grace))
	e.mu.Unlock()
	e.changed()
	return nil
}

// try counts an action, and says why it fails; e.mu must be held.
func (e *fakeEngine) try(kind Kind) error {
	if e.tries == nil {
		e.tries = map[Kind]int{}
	}
	e.tries[kind]++
	return e.fails[kind]
}

func (e *fakeEngine) tried(kind Kind) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tries[kind]
}

func (e *fakeEngine) kill(id string) { e.end(id, "Exited (137) 1 second ago") }

// end ends a container as Docker then says.
func (e *fakeEngine) end(id, detail string) {
	e.mu.Lock()
	c := e.containers[id]
	c.Status, c.Detail, c.Ports, c.Addr = engine.StatusExited, detail, nil, netip.Addr{}
	e.mu.Unlock()
	e.changed()
}

func (e *fakeEngine) dial(context.Context, string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.deaf
}

func (e *fakeEngine) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

func (e *fakeEngine) count() (containers, starts, pulls int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.containers), e.starts, e.pulls
}

// get answers a check of type http.
func (e *fakeEngine) get(ctx context.Context, addr string, _ manifest.Check) (int, error) {
	if err := e.dial(ctx, addr); err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status, nil
}

func (e *fakeEngine) Exec(ctx context.Context, _ string, _ []string, _ string) (engine.Exec, error) {
	e.mu.Lock()
	e.execs++
	exec, err, hangs := e.exec, e.execErr, e.hangs
	e.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return engine.Exec{}, ctx.Err()
	}
	return exec, err
}
