// Package ledger counts what passes between callers and backends, by service and by backend. It
// counts with atomic additions alone: a connection looks its backend up once.
package ledger

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// KeepFor is how long a backend, or a service, is kept that nothing uses any more.
	KeepFor = 15 * time.Minute
	// MaxBackends are told apart at a time. Those beyond are counted together, for each service.
	MaxBackends = 1000
	others      = "others" // their name
)

// Ledger has the accounts. Its methods may be called by several goroutines at a time.
type Ledger struct {
	began time.Time

	mu       sync.RWMutex
	services map[string]*Service // by "<service>.<app>"
	backends atomic.Int64        // of all services
}

// New makes an empty ledger.
func New() *Ledger {
	return &Ledger{began: time.Now(), services: make(map[string]*Service)}
}

// Service is the account of a service.
type Service struct {
	app, name string

	ledger  *Ledger
	waiting atomic.Int64
	used    atomic.Int64 // when last, since the ledger began

	mu       sync.RWMutex
	refused  map[string]uint64 // by reason
	past     sums              // of backends that were dropped
	backends map[netip.AddrPort]*Backend
	others   *Backend // those beyond MaxBackends, nil if there are none
}

// sums are what a service counts over all of its backends.
type sums struct{ opened, up, down uint64 }

// Service returns the account of the service with the DNS name, which is new if there was none. Only services that
// a container is linked to may be asked for: there is no limit to them. It is not to be kept for
// longer than what is counted goes on.
func (l *Ledger) Service(dnsName string) *Service {
	key := withoutDomain(dnsName)
	l.mu.RLock()
	s := l.services[key]
	l.mu.RUnlock()
	if s != nil {
		return s
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s = l.services[key]; s == nil {
		name, app, _ := strings.Cut(key, ".")
		s = &Service{app: app, name: name, ledger: l, refused: make(map[string]uint64), backends: make(map[netip.AddrPort]*Backend)}
		s.touch()
		l.services[key] = s
	}
	return s
}

// withoutDomain is the first two labels of "<service>.<app>.<domain>".
func withoutDomain(dnsName string) string {
	first := strings.IndexByte(dnsName, '.') + 1
	if second := strings.IndexByte(dnsName[first:], '.'); first > 0 && second >= 0 {
		return dnsName[:first+second]
	}
	return dnsName
}

// Backend returns the account of the service's backend, which is new if there was none. It is not
// to be kept for longer than what is counted goes on.
func (s *Service) Backend(addr netip.AddrPort) *Backend {
	s.mu.RLock()
	b := s.backends[addr]
	s.mu.RUnlock()
	if b != nil {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b = s.backends[addr]; b != nil {
		return b
	}
	if s.ledger.backends.Load() >= MaxBackends {
		if s.others == nil {
			s.others = &Backend{service: s, name: others}
		}
		return s.others
	}
	b = &Backend{service: s, name: addr.String()}
	b.touch()
	s.backends[addr] = b
	s.ledger.backends.Add(1)
	return b
}

// Refused counts a connection to the service that was refused. There are few reasons.
func (s *Service) Refused(reason string) {
	s.mu.Lock()
	s.refused[reason]++
	s.mu.Unlock()
	s.touch()
}

// Waits counts a connection that waits for a backend, until the returned function is called.
func (s *Service) Waits() (done func()) {
	s.waiting.Add(1)
	return func() {
		s.waiting.Add(-1)
		s.touch()
	}
}

func (s *Service) touch() { s.used.Store(int64(time.Since(s.ledger.began))) }

// Backend is the account of one backend.
type Backend struct {
	service *Service
	name    string

	opened, failed atomic.Uint64
	passed         atomic.Uint64 // connections that the kernel opened, past us
	passing        atomic.Int64  // of those, open now
	up, down       atomic.Uint64 // bytes
	dial, lasted   histogram
	used           atomic.Int64 // when last, since the ledger began
}

// Opened counts a connection that the backend accepted after so long. Closed has to follow.
func (b *Backend) Opened(took time.Duration) {
	b.opened.Add(1)
	b.dial.observe(took, dialBounds[:])
}

// Began counts a flow of datagrams to the backend, which nobody accepts. Closed has to follow.
func (b *Backend) Began() { b.opened.Add(1) }

// Failed counts a connection that the backend did not accept.
func (b *Backend) Failed() {
	b.failed.Add(1)
	b.touch()
}

// Carried counts bytes, up to the backend and down from it.
func (b *Backend) Carried(up, down int64) {
	b.up.Add(uint64(up))
	b.down.Add(uint64(down))
}

// Passed counts connections that the kernel opened past us, of which so many are open now. How long
// they lasted, and how long it took to dial, nobody knows.
func (b *Backend) Passed(opened uint64, open int) {
	b.passed.Add(opened)
	b.passing.Store(int64(open))
	b.touch()
}

// Closed counts the end of a connection that was Opened, after so long.
func (b *Backend) Closed(lasted time.Duration) {
	b.lasted.observe(lasted, lastedBounds[:])
	b.touch()
}

func (b *Backend) touch() { b.used.Store(int64(time.Since(b.service.ledger.began))) }

// Open is how many connections are open now.
func (b *Backend) Open() int64 {
	closed := b.lasted.count() // first: no connection is closed that was not opened
	return int64(b.opened.Load()-closed) + b.passing.Load()
}

func (b *Backend) allOpened() uint64 { return b.opened.Load() + b.passed.Load() }

func (s *sums) add(b *Backend) {
	s.opened += b.allOpened()
	s.up += b.up.Load()
	s.down += b.down.Load()
}

// Run keeps the ledger small until ctx ends.
func (l *Ledger) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			l.forget(now)
		}
	}
}

// forget drops what nothing used for KeepFor.
func (l *Ledger) forget(now time.Time) {
	stale := func(used *atomic.Int64) bool { return now.Sub(l.began)-time.Duration(used.Load()) > KeepFor }
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, s := range l.services {
		s.mu.Lock()
		for addr, b := range s.backends {
			if b.Open() == 0 && stale(&b.used) {
				s.past.add(b)
				delete(s.backends, addr)
				l.backends.Add(-1)
			}
		}
		if s.others != nil && s.others.Open() == 0 && stale(&s.others.used) {
			s.past.add(s.others)
			s.others = nil
		}
		if len(s.backends) == 0 && s.others == nil && s.waiting.Load() == 0 && stale(&s.used) {
			delete(l.services, name)
		}
		s.mu.Unlock()
	}
}
