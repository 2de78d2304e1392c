// Package event writes down what happens in the cluster, for people to read: which instance became
// healthy or failed, which host was lost, what the scheduler did and why. Nothing depends on it, so
// nothing waits for it: events may be lost or doubled.
package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	waiting  = 256  // events that may wait to be written
	subjects = 4096 // of which the last event is remembered
	// pace is the time between two writes: etcd remembers 1,000 of them, and who follows it may be
	// some seconds behind.
	pace     = 20 * time.Millisecond
	retry    = time.Second    // after the store could not be written
	lifetime = 24 * time.Hour // of an event
)

// Store is what a Recorder needs of a store.Store.
type Store interface {
	Append(ctx context.Context, dir, value string, ttl time.Duration) (store.Node, error)
	List(ctx context.Context, dir string) (store.Listing, error)
	Delete(ctx context.Context, key string) error
}

// Recorder writes events into the store, in the order in which they were recorded.
type Recorder struct {
	store Store
	known func() bool // whether the store is known to be this cluster's
	log   *slog.Logger
	hint  chan struct{}

	mu      sync.Mutex
	queue   []state.Event
	leftOut int                     // since the newest in the queue
	last    map[subject]state.Event // that was recorded
}

// subject is what an event is about.
type subject struct {
	host, app, name, instance string
	slot                      int
}

// New makes a Recorder; it does no I/O. Events wait while known says that the store is not known to
// be this cluster's.
func New(s Store, known func() bool, log *slog.Logger) *Recorder {
	return &Recorder{store: s, known: known, log: log, hint: make(chan struct{}, 1), last: map[subject]state.Event{}}
}

// Record has an event written, unless it says of its subject what the last one said. The event
// happened now if it does not say when. Record never blocks, and is for concurrent use: while too
// many wait to be written, as in an outage of etcd, what comes is left out.
func (r *Recorder) Record(e state.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.repeats(e):
		return
	case len(r.queue) >= waiting:
		r.leftOut++
		return
	}
	if len(r.last) >= subjects {
		clear(r.last) // the worst that follows is a repetition
	}
	r.last[subjectOf(e)] = e
	e.LeftOut, r.leftOut = r.leftOut, 0
	r.queue = append(r.queue, e)
	select {
	case r.hint <- struct{}{}:
	default: // the writer is told already
	}
}

// repeats tells whether the event says what the last one of its subject said; r.mu must be held.
func (r *Recorder) repeats(e state.Event) bool {
	last, there := r.last[subjectOf(e)]
	last.Time = e.Time
	return there && last == e
}

func subjectOf(e state.Event) subject {
	return subject{host: e.Host, app: e.App, name: e.Name, instance: e.Instance, slot: e.Slot}
}

// Run writes until ctx ends. What waits then is lost.
func (r *Recorder) Run(ctx context.Context) error {
	said := ""
	for {
		wait := pace
		switch e, err := r.first(); {
		case err == nil:
			err = r.write(ctx, e)
			if err != nil && err.Error() != said && ctx.Err() == nil {
				r.log.Warn("write events", "err", err)
			}
			said = fmt.Sprint(err)
			if temporary(err) {
				wait = retry
			} else {
				r.drop(err != nil)
			}
		case errors.Is(err, errUnknown):
			wait = retry
		default:
			select {
			case <-ctx.Done():
			case <-r.hint:
			}
			wait = 0
		}
		if pause(ctx, wait) != nil {
			return nil
		}
	}
}

var (
	errNone    = errors.New("no event waits")
	errUnknown = errors.New("etcd is not known to be this cluster's")
)

// first is the event to be written next.
func (r *Recorder) first() (state.Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return state.Event{}, errNone
	}
	if !r.known() {
		return state.Event{}, errUnknown
	}
	return r.queue[0], nil
}

func (r *Recorder) write(ctx context.Context, e state.Event) error {
	value, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings, numbers and a time can be marshalled
	}
	_, err = r.store.Append(ctx, state.EventsDir, string(value), lifetime)
	return err
}

// temporary tells whether what failed may go well when it is tried again.
func temporary(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// drop takes the first event away, which was written, or which the store does not take.
func (r *Recorder) drop(refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := 0
	if refused {
		lost = r.queue[0].LeftOut + 1
	}
	r.queue = r.queue[1:]
	if len(r.queue) > 0 {
		r.queue[0].LeftOut += lost
	} else {
		r.queue, r.leftOut = nil, r.leftOut+lost
	}
}

// pause waits, and returns ctx's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
