package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// identityAge is how old a look at the ClusterKey may be, of all that follow etcd through a store
// together: a key that is gone or another is noticed about a poll and this later.
const identityAge = pollTime / 2

// Pin says which cluster this is: from now on, mirrors trust no etcd whose ClusterKey does not
// hold this id. Without it they take the first id that they find. A member that was wiped may
// come back under the same X-Etcd-Cluster-Id, so it is the key that counts.
func (s *Store) Pin(clusterID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned = clusterID
}

// checkCluster returns ErrForeignCluster where etcd does not hold the id that it should. It asks
// a quorum. Something that was read before it and passes it was read from our cluster.
func (s *Store) checkCluster(ctx context.Context) error {
	if s.options.ClusterKey == "" {
		return nil
	}
	a, err := s.read(ctx, s.options.ClusterKey, false)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read the cluster's id: %w", err)
	}
	found := ""
	if err == nil {
		found = a.node.Value
	}
	return s.identify(found)
}

// identify compares the id that etcd holds, "" for none, with the one that it should hold.
func (s *Store) identify(found string) error {
	s.looked.Store(int64(time.Since(s.born)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.foreign = nil
	switch {
	case s.pinned == "" && found != "":
		s.pinned = found
		s.log.Info("cluster found", "cluster", found)
	case s.pinned != "" && found == "":
		s.foreign = fmt.Errorf("%w: %s is missing, want %q", ErrForeignCluster, s.options.ClusterKey, s.pinned)
	case found != s.pinned:
		s.foreign = fmt.Errorf("%w: %s is %q, want %q", ErrForeignCluster, s.options.ClusterKey, found, s.pinned)
	}
	return s.foreign
}

// identity is what the last look at the ClusterKey said. due tells one caller that it has been a
// while since, and that the next look is its.
func (s *Store) identity() (due bool, err error) {
	if s.options.ClusterKey == "" {
		return false, nil
	}
	now, looked := int64(time.Since(s.born)), s.looked.Load()
	if now-looked > int64(identityAge) && s.looked.CompareAndSwap(looked, now) {
		return true, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return false, s.foreign
}
