package agent

import (
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
)

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
