package agent

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/manifest"
)

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
	login      engine.Login // of the last pull
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

func (e *fakeEngine) Pull(ctx context.Context, image string, login engine.Login) error {
	e.spend(ctx, "pull")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.login = login
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
	c.Status, c.Addr, c.Ports = engine.StatusRunning, netip.MustParseAddr("172.30.0.2"), map[engine.Port]int{engine.TCP(80): 32768 + e.port}
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
