package conductor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const joinRetry = 2 * time.Second

// membership is which cluster this host belongs to.
type membership struct {
	store    *store.Store
	clusters func(context.Context) (map[string]int, error) // ids that containers here are labelled with
	log      *slog.Logger
	id       atomic.Pointer[string]
	err      atomic.Pointer[error] // why it has not joined
}

// clusterID is "" before the host has joined.
func (m *membership) clusterID() string {
	if id := m.id.Load(); id != nil {
		return *id
	}
	return ""
}

// ready says why the host has not joined.
func (m *membership) ready() error {
	if m.id.Load() != nil {
		return nil
	}
	if err := m.err.Load(); err != nil {
		return *err
	}
	return errors.New("has not joined a cluster yet")
}

// join blocks until the host has joined the cluster that the store says it is, or ctx ends. The
// first host makes the cluster's id, in a store that knows no hosts. A host that has containers of
// a cluster never joins another: a store that does not know them has lost its content, and acting
// on it would stop them all.
func (m *membership) join(ctx context.Context) error {
	said := ""
	for {
		id, err := m.find(ctx)
		if err == nil {
			m.id.Store(&id)
			m.store.Pin(id)
			m.log.Info("joined the cluster", "cluster", id)
			return nil
		}
		m.err.Store(&err)
		if err.Error() != said && ctx.Err() == nil {
			said = err.Error()
			m.log.Warn("join the cluster", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(joinRetry):
		}
	}
}

func (m *membership) find(ctx context.Context) (string, error) {
	clusters, err := m.clusters(ctx)
	if err != nil {
		return "", err
	}
	// Before the key is looked for: hosts enter themselves after it was made.
	hosts, err := m.store.List(ctx, state.HostsDir)
	if err != nil {
		return "", err
	}
	node, err := m.store.Get(ctx, state.ClusterKey)
	switch {
	case errors.Is(err, store.ErrNotFound) && len(hosts.Nodes) > 0:
		return "", fmt.Errorf("etcd has hosts but no %s: its content was partly lost, nothing is touched", state.ClusterKey)
	case errors.Is(err, store.ErrNotFound) && len(clusters) == 0:
		return m.make(ctx)
	case errors.Is(err, store.ErrNotFound):
		return "", fmt.Errorf("etcd has no %s, but containers of cluster %v run here: its content was lost, nothing is touched", state.ClusterKey, ids(clusters))
	case err != nil:
		return "", err
	case len(clusters) > 0 && clusters[node.Value] == 0:
		return "", fmt.Errorf("etcd is of cluster %s, but containers of cluster %v run here: nothing is touched", node.Value, ids(clusters))
	}
	return node.Value, nil
}

func (m *membership) make(ctx context.Context) (string, error) {
	var id [8]byte
	rand.Read(id[:]) // never fails
	node, err := m.store.Create(ctx, state.ClusterKey, hex.EncodeToString(id[:]), 0)
	if errors.Is(err, store.ErrExists) {
		node, err = m.store.Get(ctx, state.ClusterKey)
	}
	return node.Value, err
}

func ids(clusters map[string]int) []string { return slices.Sorted(maps.Keys(clusters)) }
