package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Set writes a key, whatever it was before, with a time to live (in whole seconds, rounded up)
// or for good (0). It is repeated until an endpoint answers: on an error it may have happened.
func (s *Store) Set(ctx context.Context, key, value string, ttl time.Duration) (Node, error) {
	r, err := newRequest(http.MethodPut, key, nil)
	if err != nil {
		return Node{}, fmt.Errorf("set: %w", err)
	}
	r.form = form(value, ttl)
	a, err := s.do(ctx, r)
	if err != nil {
		return Node{}, fmt.Errorf("set %s: %w", key, err)
	}
	return newNode(a.node), nil
}

// Append writes a value under a new key of the directory, with a time to live as Set has it. Keys that
// were appended sort in the order in which they were written. It is repeated until an endpoint
// answers: where an answer is lost the value may be there twice, and on an error it may be there.
func (s *Store) Append(ctx context.Context, dir, value string, ttl time.Duration) (Node, error) {
	r, err := newRequest(http.MethodPost, dir, nil)
	if err != nil {
		return Node{}, fmt.Errorf("append: %w", err)
	}
	r.form = form(value, ttl)
	a, err := s.do(ctx, r)
	if err != nil {
		return Node{}, fmt.Errorf("append to %s: %w", dir, err)
	}
	return newNode(a.node), nil
}

// Create writes a key that does not exist. It fails with ErrExists, and with ErrOutcomeUnknown
// where neither etcd's answer nor a look at the key tells what happened. Where the answer was
// lost, a key with this very value counts as the caller's: one who claims something by creating
// a key puts something unique into the value.
func (s *Store) Create(ctx context.Context, key, value string, ttl time.Duration) (Node, error) {
	r, err := newRequest(http.MethodPut, key, url.Values{"prevExist": {"false"}})
	if err != nil {
		return Node{}, fmt.Errorf("create: %w", err)
	}
	r.form, r.once = form(value, ttl), true
	n, err := s.writeOnce(ctx, r, func(found Node) bool { return found.Value == value }, key)
	if err != nil {
		return Node{}, fmt.Errorf("create %s: %w", key, err)
	}
	return n, nil
}

// CompareAndSwap replaces the value of a key whose Modified is prevIndex, and ends its time to
// live if it has one. It fails with ErrConflict where the key was changed meanwhile, ErrNotFound
// where it is gone, and ErrOutcomeUnknown as Create does.
func (s *Store) CompareAndSwap(ctx context.Context, key, value string, prevIndex uint64) (Node, error) {
	r, err := newConditional(http.MethodPut, key, prevIndex)
	if err != nil {
		return Node{}, fmt.Errorf("compare and swap: %w", err)
	}
	r.form = form(value, 0)
	isOurs := func(found Node) bool { return found.Value == value && found.Modified > prevIndex }
	n, err := s.writeOnce(ctx, r, isOurs, key)
	if err != nil {
		return Node{}, fmt.Errorf("compare and swap %s: %w", key, err)
	}
	return n, nil
}

// CompareAndDelete deletes a key whose Modified is prevIndex. It fails with ErrConflict where
// the key was changed meanwhile, ErrNotFound where it is gone, and with ErrOutcomeUnknown. Where
// the answer was lost and the key is gone, it counts as deleted.
func (s *Store) CompareAndDelete(ctx context.Context, key string, prevIndex uint64) error {
	r, err := newConditional(http.MethodDelete, key, prevIndex)
	if err != nil {
		return fmt.Errorf("compare and delete: %w", err)
	}
	_, err = s.do(ctx, r)
	if errors.Is(err, ErrOutcomeUnknown) {
		if _, readErr := s.lookAgain(ctx, key); errors.Is(readErr, ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("compare and delete %s: %w", key, err)
	}
	return nil
}

// Delete deletes a key. It fails with ErrNotFound, with ErrNotFile for a directory, and is
// repeated until an endpoint answers: on another error it may have happened.
func (s *Store) Delete(ctx context.Context, key string) error {
	err := s.remove(ctx, key, nil)
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// DeleteDir deletes a directory with all that is in it, or a key. That it is absent already is no
// error. It is repeated until an endpoint answers.
func (s *Store) DeleteDir(ctx context.Context, dir string) error {
	err := s.remove(ctx, dir, url.Values{"recursive": {"true"}})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete directory %s: %w", dir, err)
	}
	return nil
}

// DeleteEmptyDir deletes a directory if nothing is in it. That it is absent or not empty is no
// error. A key fails with ErrNotDir: etcd would delete it.
func (s *Store) DeleteEmptyDir(ctx context.Context, dir string) error {
	err := s.removeEmpty(ctx, dir)
	if err != nil && !errors.Is(err, ErrNotFound) && !hasCode(err, codeDirNotEmpty) {
		return fmt.Errorf("delete empty directory %s: %w", dir, err)
	}
	return nil
}

func (s *Store) removeEmpty(ctx context.Context, dir string) error {
	a, err := s.read(ctx, dir, false)
	switch {
	case err != nil:
		return err
	case !a.node.Dir:
		return ErrNotDir
	case len(a.node.Nodes) > 0:
		return nil
	}
	return s.remove(ctx, dir, url.Values{"dir": {"true"}})
}

func (s *Store) remove(ctx context.Context, key string, query url.Values) error {
	r, err := newRequest(http.MethodDelete, key, query)
	if err != nil {
		return err
	}
	a, err := s.do(ctx, r)
	if a.repeated && errors.Is(err, ErrNotFound) {
		return nil // very likely gone by an earlier try of ours, and gone in any case
	}
	return err
}

// writeOnce sends a write that must not be repeated. Where its answer is lost it reads the key,
// which proves that the write happened if isOurs says so of what is there. That it is not there
// proves nothing: the write may be on its way.
func (s *Store) writeOnce(ctx context.Context, r request, isOurs func(Node) bool, key string) (Node, error) {
	a, err := s.do(ctx, r)
	if errors.Is(err, ErrOutcomeUnknown) {
		if found, readErr := s.lookAgain(ctx, key); readErr == nil && isOurs(found) {
			return found, nil
		}
	}
	if err != nil {
		return Node{}, err
	}
	return newNode(a.node), nil
}

// lookAgain reads a key after the answer to a write of it was lost, also where that is because
// the caller's time is up: what happened is worth a moment more.
func (s *Store) lookAgain(ctx context.Context, key string) (Node, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.TryTimeout)
	defer cancel()
	return s.Get(ctx, key)
}

// newConditional makes a request on the condition that the key's Modified is prevIndex. 0 would
// be no condition to etcd.
func newConditional(method, key string, prevIndex uint64) (request, error) {
	if prevIndex == 0 {
		return request{}, fmt.Errorf("key %q: no index to compare with", key)
	}
	r, err := newRequest(method, key, url.Values{"prevIndex": {strconv.FormatUint(prevIndex, 10)}})
	r.once = true
	return r, err
}

func form(value string, ttl time.Duration) url.Values {
	values := url.Values{"value": {value}}
	if ttl > 0 {
		seconds := int64((ttl + time.Second - 1) / time.Second)
		values.Set("ttl", strconv.FormatInt(seconds, 10))
	}
	return values
}
