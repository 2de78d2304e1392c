package conductor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// openStore opens the cluster's memory at the endpoints.
func openStore(t testing.TB, endpoints ...string) *store.Store {
	t.Helper()
	s, err := store.New(store.Options{Endpoints: endpoints, ClusterKey: state.ClusterKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// newMember is the membership of a host with containers of the clusters.
func newMember(t *testing.T, endpoint string, clusters ...string) *membership {
	t.Helper()
	labelled := map[string]int{}
	for _, id := range clusters {
		labelled[id]++
	}
	return &membership{store: openStore(t, endpoint), log: slog.New(slog.DiscardHandler),
		clusters: func(context.Context) (map[string]int, error) { return labelled, nil }}
}

// join joins within a deadline.
func join(t *testing.T, m *membership, deadline time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	return m.join(ctx)
}

func mustJoin(t *testing.T, m *membership) string {
	t.Helper()
	if err := join(t, m, 10*time.Second); err != nil {
		t.Fatalf("did not join: %v: %v", err, m.ready())
	}
	if err := m.ready(); err != nil {
		t.Errorf("joined, but %v", err)
	}
	return m.clusterID()
}

// mustNotJoin checks that the host stays out and says why.
func mustNotJoin(t *testing.T, m *membership, why string) {
	t.Helper()
	// Longer than one try, so that the second says the same.
	if err := join(t, m, joinRetry+joinRetry/2); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("join ended with %v", err)
	}
	if id := m.clusterID(); id != "" {
		t.Errorf("joined %s", id)
	}
	if err := m.ready(); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("ready says %v, want %q", err, why)
	}
}

func TestMembership(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1).Endpoints()[0]
	s := openStore(t, etcd)
	if m := newMember(t, etcd); m.ready() == nil {
		t.Error("ready before it joined")
	}

	t.Run("a host with containers never makes a cluster", func(t *testing.T) {
		mustNotJoin(t, newMember(t, etcd, "c1"), "content was lost")
		if _, err := s.Get(t.Context(), state.ClusterKey); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the cluster's key: %v", err)
		}
	})

	t.Run("an etcd that knows hosts has a cluster that it lost the key of", func(t *testing.T) {
		if _, err := s.Set(t.Context(), state.HostInfoKey("10.0.0.9"), "{}", 0); err != nil {
			t.Fatal(err)
		}
		mustNotJoin(t, newMember(t, etcd), "etcd has hosts but no /dokkaa/cluster")
		if err := s.DeleteDir(t.Context(), state.HostsDir); err != nil {
			t.Fatal(err)
		}
	})

	var made string
	t.Run("hosts that start at once make one cluster", func(t *testing.T) {
		var wait sync.WaitGroup
		ids := make([]string, 8)
		for i := range ids {
			m := newMember(t, etcd)
			wait.Go(func() {
				if err := join(t, m, 10*time.Second); err != nil {
					t.Errorf("host %d: %v", i, err)
				}
				ids[i] = m.clusterID()
			})
		}
		wait.Wait()
		node, err := s.Get(t.Context(), state.ClusterKey)
		if err != nil {
			t.Fatal(err)
		}
		made = node.Value
		for i, id := range ids {
			if id == "" || id != made {
				t.Errorf("host %d joined %q, the cluster is %q", i, id, made)
			}
		}
	})

	t.Run("later hosts join it", func(t *testing.T) {
		if id := mustJoin(t, newMember(t, etcd)); id != made {
			t.Errorf("joined %s, want %s", id, made)
		}
		if id := mustJoin(t, newMember(t, etcd, made, "other")); id != made {
			t.Errorf("joined %s, want %s", id, made)
		}
	})

	t.Run("a host with containers of another cluster stays out", func(t *testing.T) {
		mustNotJoin(t, newMember(t, etcd, "other"), "containers of cluster [other] run here")
	})

	t.Run("it joins once the key is back", func(t *testing.T) {
		m := newMember(t, etcd, "other")
		done := make(chan error, 1)
		go func() { done <- join(t, m, 10*time.Second) }()
		etcdtest.WaitFor(t, 5*time.Second, func() error {
			if err := m.ready(); err == nil || !strings.Contains(err.Error(), "other") {
				return errors.New("has not said why it does not join")
			}
			return nil
		})
		if _, err := s.Set(t.Context(), state.ClusterKey, "other", 0); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || m.clusterID() != "other" {
			t.Errorf("joined %q, %v", m.clusterID(), err)
		}
	})
}

func TestNoClusterWithoutDocker(t *testing.T) {
	t.Parallel()
	m := newMember(t, etcdtest.Start(t, 1).Endpoints()[0])
	m.clusters = func(context.Context) (map[string]int, error) { return nil, errors.New("Docker is away") }
	mustNotJoin(t, m, "Docker is away")
}
