package names

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/backend"
)

const (
	// An answer is used for so long, or for its own TTL if that is shorter. Within that time, what
	// is withdrawn gets no connection any more.
	maxTTL = time.Second
	// A name is asked for this often at most, however many wait for a better answer. A TTL of less
	// counts as this: what is asked for at one moment is one question.
	pace = 100 * time.Millisecond
	// A name that nobody asked for in this time is asked for again only when somebody does.
	idleAfter = 30 * time.Second
	// And after this it is forgotten, with all that is known of its endpoints.
	forgetAfter = time.Hour

	attempts     = 2
	queryTimeout = time.Second
	// With an answer at hand the name server gets less patience: it is asked again after half of the
	// answer's time, and two attempts end before the other half does.
	hurriedTimeout = 200 * time.Millisecond
	// After a failure the last answer serves for this time, and in half of it another is asked for.
	holdOff = time.Second

	// undecided is how long that may take, with as much again for a busy host.
	undecided = 2 * attempts * hurriedTimeout

	never = time.Duration(math.MaxInt64)
)

// service is a name that is kept. Durations count from the resolver's epoch.
type service struct {
	name  string
	used  atomic.Int64          // when somebody wanted to know it
	known atomic.Pointer[known] // nil before the first answer
	wake  chan struct{}         // capacity 1: there is a next question

	// Of the resolver's mu.
	current *question // is being asked
	next    *question // somebody waits for it

	// Of the goroutine that keeps the name.
	asked   time.Duration // when, last
	due     time.Duration // when to ask though nobody waits, if it is in use
	old     time.Duration // when the last answer must not be used any more
	failing bool
}

// known is the endpoints, and until when they are used without asking.
type known struct {
	pool  *backend.Pool
	fresh time.Duration
}

func newService(name string) *service {
	return &service{name: name, wake: make(chan struct{}, 1), asked: -pace, due: never}
}

// use notes that somebody wants to know. To write it each time would cost those who do so together.
func (s *service) use(now time.Duration) {
	if int64(now)-s.used.Load() > int64(time.Second) {
		s.used.Store(int64(now))
	}
}

// fresh returns the endpoints if they need no question.
func (s *service) fresh(now time.Duration) (*backend.Pool, bool) {
	s.use(now)
	k := s.known.Load()
	if k == nil || now >= k.fresh {
		return nil, false
	}
	return k.pool, true
}

// keep asks for the name when somebody waits, and in time when it is in use, until ctx ends or
// nobody wants to know any more what is known.
func (r *Resolver) keep(ctx context.Context, s *service) {
	for ctx.Err() == nil {
		now := time.Since(r.epoch)
		at, forget := s.plan(r.isWanted(s), now)
		if at <= now {
			if !forget {
				r.turn(ctx, s)
			} else if r.forget(s) {
				return
			}
			continue
		}
		timer := time.NewTimer(at - now)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// plan is when to ask next, or to forget the name.
func (s *service) plan(wanted bool, now time.Duration) (at time.Duration, forget bool) {
	used := time.Duration(s.used.Load())
	switch {
	case wanted:
		return s.asked + pace, false
	case s.due != never && max(now, s.due) < used+idleAfter:
		return s.due, false
	}
	return max(s.old, used+forgetAfter), true
}

func (r *Resolver) isWanted(s *service) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.next != nil
}

// turn asks, and tells those who wait.
func (r *Resolver) turn(ctx context.Context, s *service) {
	r.mu.Lock()
	q := s.next
	if q == nil {
		q = &question{done: make(chan struct{})}
	}
	s.current, s.next = q, nil
	r.mu.Unlock()

	s.asked = time.Since(r.epoch)
	s.bridge()
	answer, err := r.attempt(ctx, s)
	switch {
	case err == nil:
		q.pool = r.learn(s, answer)
	case ctx.Err() != nil:
		q.err = ctx.Err()
	default:
		q.pool, q.err = r.manage(s, err)
	}
	r.mu.Lock()
	s.current = nil
	r.mu.Unlock()
	close(q.done)
}

// bridge has a fresh answer serve until it is decided what comes after it, also where the process is held up.
func (s *service) bridge() {
	if k := s.known.Load(); k != nil && s.asked < k.fresh {
		s.known.Store(&known{k.pool, max(k.fresh, min(s.asked+undecided, s.old))})
	}
}

// attempt asks until there is an answer, or enough.
func (r *Resolver) attempt(ctx context.Context, s *service) (a answer, err error) {
	timeout := queryTimeout
	if s.asked < s.old {
		timeout = hurriedTimeout
	}
	for range attempts {
		limited, cancel := context.WithTimeout(ctx, timeout)
		a, err = r.ask(limited, s.name)
		cancel()
		if err == nil || ctx.Err() != nil {
			return a, err
		}
		r.Failed()
	}
	return a, err
}

// learn keeps an answer.
func (r *Resolver) learn(s *service, a answer) *backend.Pool {
	now := r.epoch.Add(s.asked)
	pool := backend.New(now, r.SlowStart)
	if k := s.known.Load(); k != nil {
		pool = k.pool
	}
	pool = pool.Renew(a.endpoints, now)
	ttl := max(min(a.ttl, maxTTL), pace)
	s.old = s.asked + max(r.MaxStale, ttl)
	s.due = s.asked + ttl/2
	if ttl == pace { // to ask for it ten times a second would be too much
		s.due = never
	}
	s.known.Store(&known{pool, s.asked + ttl})
	if s.failing {
		r.Log.Info("name is resolved again", "name", s.name)
	}
	s.failing = false
	return pool
}

// manage makes do with the last answer, if there is one that may be used.
func (r *Resolver) manage(s *service, err error) (*backend.Pool, error) {
	err = fmt.Errorf("resolve %s: %w", s.name, err)
	now, k := time.Since(r.epoch), s.known.Load()
	if k == nil || now >= s.old {
		s.due = never // who wants to know asks
		return nil, err
	}
	s.due = now + holdOff/2
	s.known.Store(&known{k.pool, min(now+holdOff, s.old)})
	if !s.failing {
		r.Log.Warn("name cannot be resolved, the last answer serves", "name", s.name, "until", r.epoch.Add(s.old), "err", err)
	}
	s.failing = true
	return k.pool, nil
}
