// Package forward asks other nameservers for the names that are not ours: one after the other
// within a client's patience, once for all who ask the same at a time, and not again while the
// answer is fresh. It works on packed messages.
package forward

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFlights bounds the questions that are asked at one time, and with them the sockets
	// that a flood of foreign names can take; maxWaiting the clients that wait for them.
	maxFlights = 1024
	maxWaiting = 4096
)

var (
	ErrBusy         = errors.New("too many queries wait for other nameservers")
	ErrNoNameserver = errors.New("there is no nameserver to ask")
	// ErrLoop says that a question came back that we asked others.
	ErrLoop   = errors.New("the question came back from the nameserver that was asked")
	errClosed = errors.New("the server is ending")
)

// Options say whom a Forwarder asks and what it keeps.
type Options struct {
	Nameservers []netip.AddrPort
	Rotate      bool                      // begin with any nameserver instead of the first
	Timeout     time.Duration             // of one attempt at most; all of them get twice that
	IsSelf      func(netip.AddrPort) bool // nil: none is; asking ourselves would go round and round
	Mark        bool                      // mark the queries as those to a stub zone's servers
	Cache       CacheOptions
}

// Forwarder asks other nameservers. It may be used concurrently.
type Forwarder struct {
	options   Options
	upstreams []*upstream
	cache     *cache
	started   time.Time // the clock of the cache
	turn      atomic.Uint32
	waiting   atomic.Int64
	stats     Stats
	asking    func(asked) (*answer, error) // ask; tests have no nameservers

	mu      sync.Mutex
	flights map[string]*flight
	closed  bool
	flying  sync.WaitGroup
}

// New returns a forwarder. It holds sockets only after it was asked, until Close.
func New(options Options) *Forwarder {
	if options.IsSelf == nil {
		options.IsSelf = func(netip.AddrPort) bool { return false }
	}
	f := &Forwarder{options: options, cache: newCache(options.Cache), started: time.Now(), flights: map[string]*flight{}}
	f.asking = f.ask
	for _, addr := range options.Nameservers {
		f.upstreams = append(f.upstreams, newUpstream(addr))
	}
	return f
}

// HasNameservers says whether there is anybody to ask.
func (f *Forwarder) HasNameservers() bool { return len(f.upstreams) > 0 }

// Stats are the forwarder's counters.
func (f *Forwarder) Stats() *Stats { return &f.stats }

// Entries is the number of answers that are kept.
func (f *Forwarder) Entries() int { return f.cache.len() }

// Forget drops all answers that are kept.
func (f *Forwarder) Forget() { f.cache.clear() }

// Close waits for the questions that are asked, which takes twice the timeout at most, and
// closes the sockets. The forwarder answers from what it keeps afterwards, and asks nobody.
func (f *Forwarder) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.flying.Wait()
	for _, u := range f.upstreams {
		u.pool.close()
	}
}

func (f *Forwarder) clock(now time.Time) int64 { return int64(now.Sub(f.started)) }

// Cached appends to dst the reply to a packed query over UDP, and returns its code, if a fresh
// one is kept. It takes no lock, and allocates only where it has a popular answer fetched again.
// It returns false for all else that calls for Forward, queries with EDNS options among it.
func (f *Forwarder) Cached(dst, packet []byte, now time.Time) (reply []byte, rcode int, ok bool) {
	var scratch [keyPrefix + maxName]byte
	q, err := parseQuery(packet, scratch[:])
	if err != nil || q.options {
		return dst, 0, false
	}
	at := f.clock(now)
	e := f.cache.find(q.key, at)
	if e == nil || at >= e.expires {
		return dst, 0, false
	}
	f.hit(e, at)
	return e.append(dst, &q, q.size, e.age(at), false), e.rcode(), true
}

// Forward appends to dst the reply to a packed query, of size bytes at most. It waits for the
// nameservers if need be, no longer than twice the timeout, or until ctx ends. The error says
// why there is no answer; the client is due a SERVFAIL then. EDNS options of the query are for
// the caller.
func (f *Forwarder) Forward(ctx context.Context, dst, packet []byte, size int) ([]byte, error) {
	var scratch [keyPrefix + maxName]byte
	q, err := parseQuery(packet, scratch[:])
	if err != nil {
		return dst, err
	}
	at := f.clock(time.Now())
	e := f.cache.find(q.key, at)
	switch {
	case e == nil:
	case at < e.expires:
		f.hit(e, at)
		return e.append(dst, &q, size, e.age(at), false), nil
	case at >= e.gone:
		e = nil
	case at < e.retry.Load():
		f.stats.Stale.Add(1)
		return e.append(dst, &q, size, 0, true), nil
	}
	f.stats.Misses.Add(1)
	a, err := f.fetch(ctx, &q, e)
	if err != nil {
		f.stats.Failures.Add(1)
		return dst, err
	}
	return a.append(dst, &q, size, 0, a == staleOf(e)), nil
}

func staleOf(e *entry) *answer {
	if e == nil {
		return nil
	}
	return e.answer
}

// age is how many whole seconds ago the entry was stored.
func (e *entry) age(now int64) uint32 { return uint32(max(0, now-e.stored) / int64(time.Second)) }
