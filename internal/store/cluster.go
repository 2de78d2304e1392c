package store

import (
	"context"
	"errors"
	"fmt"
)

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
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.pinned == "" && found != "":
		s.pinned = found
		s.log.Info("cluster found", "cluster", found)
	case s.pinned != "" && found == "":
		return fmt.Errorf("%w: %s is missing, want %q", ErrForeignCluster, s.options.ClusterKey, s.pinned)
	case found != s.pinned:
		return fmt.Errorf("%w: %s is %q, want %q", ErrForeignCluster, s.options.ClusterKey, found, s.pinned)
	}
	return nil
}
