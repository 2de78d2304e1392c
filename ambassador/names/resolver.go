// Package names finds out where services are. It asks the name server, remembers what it said, and
// asks again in time for names in use, so that their answers are always at hand.
package names

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

// Settings are what a resolver wants to know.
type Settings struct {
	Server    func() (string, error) // address of the name server
	MaxStale  time.Duration          // how long an answer serves while the name server gives no other
	SlowStart time.Duration          // of a new endpoint: see backend.New
	Failed    func()                 // told of each question without an answer
	Log       *slog.Logger
}

// Resolver knows the endpoints of services by their DNS names. Its methods may be called by several
// goroutines at a time.
type Resolver struct {
	Settings
	epoch time.Time // that durations count from
	ask   func(ctx context.Context, name string) (answer, error)

	services atomic.Pointer[map[string]*service] // is replaced, never changed

	mu      sync.Mutex      // of what follows, of replacing the map, and of the services' questions
	ctx     context.Context // of Run, nil before
	over    bool            // Run ends
	keepers sync.WaitGroup
	waiting []*service // for Run
}

// New makes a resolver. It does no I/O, and asks nothing before Run.
func New(settings Settings) *Resolver {
	r := &Resolver{Settings: settings, epoch: time.Now(), ask: client{settings.Server}.ask}
	r.services.Store(&map[string]*service{})
	return r
}

// Run asks what is to be asked until ctx ends. It may be called once.
func (r *Resolver) Run(ctx context.Context) {
	r.mu.Lock()
	r.ctx = ctx
	for _, s := range r.waiting {
		r.keepers.Go(func() { r.keep(ctx, s) })
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	r.over = true // no name begins to be kept any more
	r.mu.Unlock()
	r.keepers.Wait()
}

// Fresh returns the endpoints of the service if they are known without asking. It does not block.
// The pool may be empty.
func (r *Resolver) Fresh(name string) (*backend.Pool, bool) {
	s := (*r.services.Load())[name]
	if s == nil {
		return nil, false
	}
	return s.fresh(time.Since(r.epoch))
}

// Lookup is Fresh for who can wait: for the name server's answer, or, if it gives none, for its
// last one. No endpoint is not an error but an answer.
func (r *Resolver) Lookup(ctx context.Context, name string) (*backend.Pool, error) {
	if pool, ok := r.Fresh(name); ok {
		return pool, nil
	}
	return r.question(name, false).wait(ctx)
}

// Refresh is Lookup for who has no use for what is known: the answer is to a question asked after the call.
func (r *Resolver) Refresh(ctx context.Context, name string) (*backend.Pool, error) {
	return r.question(name, true).wait(ctx)
}

// Known returns what is known of each name: its endpoints, and whether they are fresh.
func (r *Resolver) Known() map[string]Service {
	now, known := time.Since(r.epoch), make(map[string]Service)
	for name, s := range *r.services.Load() {
		if k := s.known.Load(); k != nil {
			known[name] = Service{k.pool, now < k.fresh}
		}
	}
	return known
}

// Service is what is known of a name.
type Service struct {
	*backend.Pool
	Fresh bool
}

// question is one that somebody waits for.
type question struct {
	done chan struct{}
	pool *backend.Pool // valid once done is closed, as is err
	err  error
}

func (q *question) wait(ctx context.Context) (*backend.Pool, error) {
	select {
	case <-q.done:
		return q.pool, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// question has the name asked for. One that is being asked will do, unless a newer one is wanted.
func (r *Resolver) question(name string, newer bool) *question {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := (*r.services.Load())[name]
	if s == nil {
		s = r.begin(name)
	}
	s.use(time.Since(r.epoch))
	if s.current != nil && !newer {
		return s.current
	}
	if s.next == nil {
		s.next = &question{done: make(chan struct{})}
		select {
		case s.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
	return s.next
}

// begin starts to keep the name. r.mu is held.
func (r *Resolver) begin(name string) *service {
	s := newService(name)
	services := maps.Clone(*r.services.Load())
	services[name] = s
	r.services.Store(&services)
	switch {
	case r.ctx == nil:
		r.waiting = append(r.waiting, s)
	case !r.over:
		r.keepers.Go(func() { r.keep(r.ctx, s) })
	}
	return s
}

// forget ends the keeping of the name, unless somebody waits.
func (r *Resolver) forget(s *service) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.next != nil {
		return false
	}
	services := maps.Clone(*r.services.Load())
	delete(services, s.name)
	r.services.Store(&services)
	return true
}
