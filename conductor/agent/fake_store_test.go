package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
)

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
