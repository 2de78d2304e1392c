package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-etcd/etcd"
)

// Node is a key with its value.
type Node struct {
	Key, Value string
	TTL        time.Duration // remaining when it was read; 0 = the key stays
	// Created and Modified are the indexes of the writes that made the key and that changed it
	// last. Modified identifies a state of the key, for compare-and-swap.
	Created, Modified uint64
}

// Listing is what a directory held at an index.
type Listing struct {
	Nodes     []Node   // the leaves at all depths, sorted by key
	EmptyDirs []string // the directories at all depths in which nothing is, sorted
	Index     uint64   // all writes up to it are in, none after it
}

// Get reads a key, as it is at some moment during the call. It fails with ErrNotFound, with
// ErrNotFile for a directory, or with ErrUnavailable.
func (s *Store) Get(ctx context.Context, key string) (Node, error) {
	a, err := s.read(ctx, key, false)
	if err == nil && a.node.Dir {
		err = ErrNotFile
	}
	if err != nil {
		return Node{}, fmt.Errorf("get %s: %w", key, err)
	}
	return newNode(a.node), nil
}

// List reads all that is below dir, as it is at some moment during the call. A missing
// directory is an empty one, with an index.
func (s *Store) List(ctx context.Context, dir string) (Listing, error) {
	l, _, err := s.list(ctx, dir)
	if err != nil {
		return Listing{}, fmt.Errorf("list %s: %w", dir, err)
	}
	return l, nil
}

func (s *Store) list(ctx context.Context, dir string) (l Listing, cluster string, err error) {
	a, err := s.read(ctx, dir, true)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return l, "", err
	}
	l.Index = a.index
	if err == nil {
		l.Nodes = appendLeaves(nil, a.node)
		slices.SortFunc(l.Nodes, func(a, b Node) int { return cmp.Compare(a.Key, b.Key) })
		l.EmptyDirs = appendEmpty(nil, a.node)
		slices.Sort(l.EmptyDirs)
	}
	if l.Index == 0 {
		return l, "", fmt.Errorf("%w: the answer has no X-Etcd-Index", ErrUnavailable)
	}
	return l, a.cluster, nil
}

// read asks for a key or directory through a quorum: a member's own idea of it may be old.
func (s *Store) read(ctx context.Context, key string, recursive bool) (answer, error) {
	query := url.Values{"quorum": {"true"}}
	if recursive {
		query.Set("recursive", "true")
	}
	r, err := newRequest(http.MethodGet, key, query)
	if err != nil {
		return answer{}, err
	}
	return s.do(ctx, r)
}

func newNode(n *etcd.Node) Node {
	return Node{
		Key: n.Key, Value: n.Value, TTL: time.Duration(n.TTL) * time.Second,
		Created: n.CreatedIndex, Modified: n.ModifiedIndex,
	}
}

func appendLeaves(leaves []Node, n *etcd.Node) []Node {
	if !n.Dir {
		return append(leaves, newNode(n))
	}
	for _, child := range n.Nodes {
		leaves = appendLeaves(leaves, child)
	}
	return leaves
}
