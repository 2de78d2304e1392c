package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// TestContract holds the store to what its methods promise, against a real etcd.
func TestContract(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	ctx := t.Context()

	t.Run("a key is read as it was set", func(t *testing.T) {
		t.Parallel()
		set := mustSet(t, s, "/get/a", "1")
		got, err := s.Get(ctx, "/get/a")
		if err != nil || got != set || got.Value != "1" || got.Key != "/get/a" || got.Modified == 0 || got.Created != got.Modified {
			t.Errorf("set %+v, got %+v, %v", set, got, err)
		}
		again := mustSet(t, s, "/get/a", "2")
		if again.Modified <= set.Modified {
			t.Errorf("second set at %d, after %d", again.Modified, set.Modified)
		}
		_, err = s.Get(ctx, "/get/b")
		wantErr(t, "absent", err, ErrNotFound)
		_, err = s.Get(ctx, "/get")
		wantErr(t, "directory", err, ErrNotFile)
		_, err = s.Set(ctx, "/get", "x", 0)
		wantErr(t, "set of a directory", err, ErrNotFile)
		_, err = s.Set(ctx, "/get/a/b", "x", 0)
		wantErr(t, "set below a key", err, ErrNotDir)
	})

	t.Run("keys and values may hold any character", func(t *testing.T) {
		t.Parallel()
		values := []string{"", " ", "a&b+c%d;e=f", "line\nline\r\n", "%41", `{"ü":"\u0000"}`, "日本", strings.Repeat("x", 1<<20)}
		for i, segment := range []string{"a b", "a+b", "a%20b", "a&b=c", "a?b", "a#b", "a;b,c", "ü日", "~!@$*()'\"", "a:b"} {
			key, value := "/odd/"+segment+"/k", values[i%len(values)]
			mustSet(t, s, key, value)
			if n, err := s.Get(ctx, key); err != nil || n.Value != value || n.Key != key {
				t.Errorf("%q: got %.50q=%.50q, %v", key, n.Key, n.Value, err)
			}
			list, err := s.List(ctx, "/odd/"+segment)
			if err != nil || len(list.Nodes) != 1 || list.Nodes[0].Key != key || list.Nodes[0].Value != value {
				t.Errorf("%q: listed %.100v, %v", key, list, err)
			}
		}
	})

	t.Run("a listing has all leaves in order", func(t *testing.T) {
		t.Parallel()
		for _, key := range []string{"/list/b/x/y", "/list/a", "/list/b-c/x", "/list/b/a"} {
			mustSet(t, s, key, "1")
		}
		last := mustSet(t, s, "/list/c", "1")
		list, err := s.List(ctx, "/list")
		if want := "/list/a=1 /list/b-c/x=1 /list/b/a=1 /list/b/x/y=1 /list/c=1"; err != nil || keysOf(list.Nodes) != want {
			t.Errorf("got %s, %v", keysOf(list.Nodes), err)
		}
		if list.Index < last.Modified {
			t.Errorf("index %d is before the last write's, %d", list.Index, last.Modified)
		}
		list, err = s.List(ctx, "/nothing")
		if err != nil || len(list.Nodes) != 0 || list.Index < last.Modified {
			t.Errorf("missing directory: %+v, %v", list, err)
		}
	})

	t.Run("what is appended sorts in the order of writing", func(t *testing.T) {
		t.Parallel()
		want := ""
		for i := range 12 { // across a number with one digit more
			value := string(rune('a' + i))
			n, err := s.Append(ctx, "/append/here", value, time.Minute)
			if err != nil || n.Value != value || n.TTL != time.Minute || !strings.HasPrefix(n.Key, "/append/here/") {
				t.Fatalf("append: %+v, %v", n, err)
			}
			want += " " + n.Key + "=" + value
		}
		list, err := s.List(ctx, "/append")
		if got := keysOf(list.Nodes); err != nil || got != want[1:] {
			t.Errorf("listed %s, want %s, %v", got, want[1:], err)
		}
		_, err = s.Append(ctx, list.Nodes[0].Key, "x", 0)
		wantErr(t, "append to a key", err, ErrNotDir)
	})

	t.Run("a key is created once", func(t *testing.T) {
		t.Parallel()
		if n, err := s.Create(ctx, "/create", "1", 0); err != nil || n.Value != "1" {
			t.Errorf("create: %+v, %v", n, err)
		}
		_, err := s.Create(ctx, "/create", "1", 0)
		wantErr(t, "second create", err, ErrExists)
	})

	t.Run("compare and swap wants the state that it was told", func(t *testing.T) {
		t.Parallel()
		old := mustSet(t, s, "/cas", "1")
		now, err := s.CompareAndSwap(ctx, "/cas", "2", old.Modified)
		if err != nil || now.Value != "2" || now.Modified <= old.Modified || now.Created != old.Created {
			t.Errorf("swap: %+v, %v", now, err)
		}
		_, err = s.CompareAndSwap(ctx, "/cas", "3", old.Modified)
		wantErr(t, "swap of an old state", err, ErrConflict)
		wantErr(t, "delete of an old state", s.CompareAndDelete(ctx, "/cas", old.Modified), ErrConflict)
		if n, err := s.Get(ctx, "/cas"); err != nil || n.Value != "2" {
			t.Errorf("after both: %+v, %v", n, err)
		}
		if err := s.CompareAndDelete(ctx, "/cas", now.Modified); err != nil {
			t.Error(err)
		}
		_, err = s.CompareAndSwap(ctx, "/cas", "3", now.Modified)
		wantErr(t, "swap of an absent key", err, ErrNotFound)
		wantErr(t, "delete of an absent key", s.CompareAndDelete(ctx, "/cas", now.Modified), ErrNotFound)
		mustSet(t, s, "/cas", "4")
		if _, err = s.CompareAndSwap(ctx, "/cas", "5", 0); err == nil {
			t.Error("swap with no index is done")
		}
		if err := s.CompareAndDelete(ctx, "/cas", 0); err == nil {
			t.Error("delete with no index is done")
		}
	})

	t.Run("delete", func(t *testing.T) {
		t.Parallel()
		mustSet(t, s, "/del/a", "1")
		wantErr(t, "of a directory", s.Delete(ctx, "/del"), ErrNotFile)
		if err := s.Delete(ctx, "/del/a"); err != nil {
			t.Error(err)
		}
		wantErr(t, "of an absent key", s.Delete(ctx, "/del/a"), ErrNotFound)
	})

	t.Run("delete of directories", func(t *testing.T) {
		t.Parallel()
		mustSet(t, s, "/dir/a/b", "1")
		if err := errors.Join(s.DeleteEmptyDir(ctx, "/dir/a"), s.DeleteEmptyDir(ctx, "/dir/none")); err != nil {
			t.Error(err)
		}
		if _, err := s.Get(ctx, "/dir/a/b"); err != nil {
			t.Errorf("below a directory that was not empty: %v", err)
		}
		wantErr(t, "a key as a directory", s.DeleteEmptyDir(ctx, "/dir/a/b"), ErrNotDir)
		if err := errors.Join(s.Delete(ctx, "/dir/a/b"), s.DeleteEmptyDir(ctx, "/dir/a")); err != nil {
			t.Error(err)
		}
		_, err := s.Get(ctx, "/dir/a")
		wantErr(t, "the emptied directory", err, ErrNotFound)
		mustSet(t, s, "/dir/a/b", "1")
		if err := errors.Join(s.DeleteDir(ctx, "/dir"), s.DeleteDir(ctx, "/dir")); err != nil {
			t.Error(err)
		}
		_, err = s.Get(ctx, "/dir/a/b")
		wantErr(t, "below the deleted directory", err, ErrNotFound)
	})

	t.Run("a key with a time to live ends", func(t *testing.T) {
		t.Parallel()
		n, err := s.Set(ctx, "/ttl", "1", 900*time.Millisecond)
		if err != nil || n.TTL != time.Second {
			t.Fatalf("set: %+v, %v", n, err)
		}
		etcdtest.WaitFor(t, 5*time.Second, func() error {
			if _, err := s.Get(ctx, "/ttl"); !errors.Is(err, ErrNotFound) {
				return fmt.Errorf("still there: %w", err)
			}
			return nil
		})
	})
}

// losing is a gateway that passes requests on to etcd, and loses the answers to writes.
func losing(t *testing.T, etcd string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, etcd+r.URL.String(), r.Body)
		if err != nil {
			panic(err)
		}
		out.Header = r.Header
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil || r.Method != http.MethodGet {
			if err == nil {
				_ = resp.Body.Close() // only read
			}
			panic(http.ErrAbortHandler) // the connection breaks
		}
		defer resp.Body.Close()
		w.Header().Set("X-Etcd-Index", resp.Header.Get("X-Etcd-Index"))
		w.WriteHeader(resp.StatusCode)
		if _, err := io.Copy(w, resp.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestLostAnswerOfAWriteIsLookedUp(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1).Endpoints()[0]
	direct, lossy := open(t, []string{etcd}), open(t, []string{losing(t, etcd)})
	ctx := t.Context()

	created, err := lossy.Create(ctx, "/a", "mine", 0)
	if err != nil || created.Value != "mine" {
		t.Fatalf("create: %+v, %v", created, err)
	}
	swapped, err := lossy.CompareAndSwap(ctx, "/a", "mine too", created.Modified)
	if err != nil || swapped.Modified <= created.Modified {
		t.Errorf("swap: %+v, %v", swapped, err)
	}
	// Somebody else's value proves nothing about a write whose answer was lost.
	mustSet(t, direct, "/a", "theirs")
	_, err = lossy.CompareAndSwap(ctx, "/a", "mine again", swapped.Modified)
	wantErr(t, "swap after somebody else", err, ErrOutcomeUnknown)
	_, err = lossy.Create(ctx, "/a", "mine", 0)
	wantErr(t, "create after somebody else", err, ErrOutcomeUnknown)
	wantErr(t, "delete after somebody else", lossy.CompareAndDelete(ctx, "/a", swapped.Modified), ErrOutcomeUnknown)

	// What can be done twice is tried until there is an answer, and is there as often as it was done.
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := lossy.Append(short, "/events", "x", 0); err == nil {
		t.Error("append without an answer: no error")
	}
	if l, err := direct.List(ctx, "/events"); err != nil || len(l.Nodes) < 2 {
		t.Errorf("appended in vain %d times, %v", len(l.Nodes), err)
	}

	theirs, err := direct.Get(ctx, "/a")
	if err != nil || theirs.Value != "theirs" {
		t.Fatalf("in the end: %+v, %v", theirs, err)
	}
	if err := lossy.CompareAndDelete(ctx, "/a", theirs.Modified); err != nil {
		t.Errorf("delete: %v", err)
	}
}
