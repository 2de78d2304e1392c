package agent

import (
	"errors"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
)

// refusal is that the store does not let a key be written or deleted: somebody put something in
// its way. It is tried again, later and later, and holds up nothing else.
type refusal struct {
	failures  int // in a row
	notBefore time.Time
	err       error
}

// refused tells whether the error says that surely nothing was written.
func refused(err error) bool {
	return errors.Is(err, store.ErrNotDir) || errors.Is(err, store.ErrNotFile) || errors.Is(err, store.ErrRefused)
}

// refuse notes that a key was refused; p.mu must be held.
func (p *publisher) refuse(key string, err error) {
	r := p.refusals[key]
	if r == nil {
		r = &refusal{}
		p.refusals[key] = r
	}
	if r.err == nil || r.err.Error() != err.Error() {
		p.log.Warn("publish", "key", key, "err", err)
		p.done()
	}
	r.failures++
	r.err, r.notBefore = err, time.Now().Add(backoff(r.failures+1)) // what failed just now is not tried at once
}

// refusal is why the store refuses the key, nil if it does not.
func (p *publisher) refusal(key string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.refusals[key]; r != nil {
		return r.err
	}
	return nil
}

// nextRetry is when the first refused key is to be tried again, zero if none is.
func (p *publisher) nextRetry() (next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.refusals {
		if next.IsZero() || r.notBefore.Before(next) {
			next = r.notBefore
		}
	}
	return next
}
