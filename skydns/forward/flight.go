package forward

import (
	"bytes"
	"context"
	"errors"
	"time"
)

const (
	// staleTTL is the TTL of answers that are too old (RFC 8767, 4).
	staleTTL = 30
	// patience is how long a client waits for a fresh answer where a stale one is at hand.
	patience = 1800 * time.Millisecond
	// retryTime is how long a stale answer is given without asking again after nobody answered.
	retryTime = 10 * time.Second
	// An answer is fetched again early that was asked for popularHits times, when less than one
	// part in prefetchPart of its lifetime is left.
	popularHits  = 3
	prefetchPart = 10
	// loopLetters is how many letters a name must have for its spelling to be nobody else's.
	loopLetters = 12
)

// flight is one question that is being asked.
type flight struct {
	asked   asked
	size    int // of its OPT
	done    chan struct{}
	spelled []byte // as others are asked, where that is telling
	answer  *answer
	err     error
}

// fetch has the question asked, or waits for those who ask it already. Where nobody answers in
// time it returns the answer of stale, unless that is nil.
func (f *Forwarder) fetch(ctx context.Context, q *query, stale *entry) (*answer, error) {
	if f.waiting.Add(1) > maxWaiting {
		f.waiting.Add(-1)
		return f.orStale(stale, ErrBusy)
	}
	defer f.waiting.Add(-1)
	flight, first, err := f.join(q.key, q.question, q.size)
	if err != nil {
		return f.orStale(stale, err)
	}
	if first && stale == nil && ctx.Done() == nil { // there is nothing to do but to wait
		f.fly(flight)
		return flight.answer, flight.err
	}
	if first {
		go f.fly(flight) // which Close waits for
	}
	var impatient <-chan time.Time
	if stale != nil {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		impatient = timer.C
	}
	select {
	case <-flight.done:
		if flight.err == nil && (stale == nil || flight.answer.usable()) {
			return flight.answer, nil
		}
		f.rest(stale)
		return f.orStale(stale, flight.err)
	case <-impatient:
		f.rest(stale)
		return f.orStale(stale, nil)
	case <-ctx.Done():
		return f.orStale(stale, ctx.Err())
	}
}

// rest leaves the nameservers alone for a while that did not renew a stale entry.
func (f *Forwarder) rest(stale *entry) {
	if stale != nil {
		stale.retry.Store(f.clock(time.Now().Add(retryTime)))
	}
}

func (f *Forwarder) orStale(stale *entry, err error) (*answer, error) {
	if stale == nil {
		return nil, err
	}
	f.stats.Stale.Add(1)
	return stale.answer, nil
}

// join returns the flight of the key. If there is none it makes one, which the caller, as the first,
// has to have flown. question is as the client spelled it, nil if there is no client.
func (f *Forwarder) join(key, question []byte, size int) (joined *flight, first bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if flying, exists := f.flights[string(key)]; exists {
		if flying.spelled != nil && string(flying.spelled) == string(question) {
			return nil, false, ErrLoop
		}
		f.stats.Shared.Add(1)
		return flying, false, nil
	}
	switch {
	case f.closed:
		return nil, false, errClosed
	case len(f.upstreams) == 0:
		return nil, false, ErrNoNameserver
	case len(f.flights) >= maxFlights:
		return nil, false, ErrBusy
	}
	a := newAsked(bytes.Clone(key), size, f.options.Mark)
	a.misspell()
	made := &flight{asked: a, size: size, done: make(chan struct{})}
	if name := a.key[keyPrefix:]; letters(name) >= loopLetters && string(a.spelled()[:len(name)]) != string(name) {
		made.spelled = bytes.Clone(a.spelled())
	}
	f.flights[string(key)] = made
	f.flying.Add(1)
	return made, true, nil
}

// fly asks the question, keeps the answer, and tells all who wait, whatever happens.
func (f *Forwarder) fly(made *flight) {
	defer f.flying.Done()
	made.err = ErrNoNameserver
	defer func() {
		f.mu.Lock()
		delete(f.flights, string(made.asked.key))
		f.mu.Unlock()
		close(made.done)
	}()
	made.answer, made.err = f.asking(made.asked)
	if made.err == nil {
		f.cache.keep(made.asked.key, made.size, made.answer, f.clock(time.Now()))
	}
}

// ask asks one nameserver after the other, those first that answered lately, and the first one
// again at the end: its packet may have been lost.
func (f *Forwarder) ask(a asked) (*answer, error) {
	f.stats.Asked.Add(1)
	start := time.Now()
	order := f.order(start)
	if len(order) == 0 {
		return nil, ErrNoNameserver
	}
	order = append(order, order[0])
	limit := 2 * f.options.Timeout
	each := min(f.options.Timeout, limit/time.Duration(len(order)))
	var errs []error
	for _, u := range order {
		now := time.Now()
		if now.Sub(start) >= limit {
			break
		}
		reply, err := u.ask(a, now.Add(each))
		u.note(err, time.Now())
		if err == nil {
			return reply, nil
		}
		f.stats.Retries.Add(1)
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// order is the nameservers in the order in which to ask them: the shunned ones last.
func (f *Forwarder) order(now time.Time) []*upstream {
	first := 0
	if f.options.Rotate {
		first = int(f.turn.Add(1) % uint32(len(f.upstreams)))
	}
	good := make([]*upstream, 0, len(f.upstreams)+1)
	var bad []*upstream
	for i := range f.upstreams {
		u := f.upstreams[(first+i)%len(f.upstreams)]
		switch {
		case u.isSelf(f.options.IsSelf, now):
		case u.avoid(now):
			bad = append(bad, u)
		default:
			good = append(good, u)
		}
	}
	return append(good, bad...)
}

// hit counts a use of a fresh entry, and has a popular one fetched again before it expires.
func (f *Forwarder) hit(e *entry, now int64) {
	f.stats.Hits.Add(1)
	hits := e.hits.Load()
	if hits < popularHits {
		hits = e.hits.Add(1)
	}
	if hits < popularHits || (e.expires-now)*prefetchPart > e.expires-e.stored || e.refreshing.Load() {
		return
	}
	if !e.refreshing.CompareAndSwap(false, true) {
		return
	}
	if made, first, err := f.join([]byte(e.key), nil, e.size); err == nil && first {
		f.stats.Prefetches.Add(1)
		go f.fly(made) // which Close waits for
	}
}
