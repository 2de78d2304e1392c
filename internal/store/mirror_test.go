package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// run runs the mirror until the test ends.
func run(t *testing.T, m *Mirror) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Errorf("mirror: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wait.Wait() })
}

// startMirror runs a mirror of dir, and returns once it knows it.
func startMirror(t *testing.T, s *Store, dir string) *Mirror {
	t.Helper()
	m := s.NewMirror(dir)
	run(t, m)
	waitKnown(t, m, 10*time.Second)
	return m
}

func waitKnown(t *testing.T, m *Mirror, deadline time.Duration) {
	t.Helper()
	etcdtest.WaitFor(t, deadline, func() error {
		if snapshot := m.Snapshot(); !snapshot.Known {
			return fmt.Errorf("the mirror is unknown: %w", snapshot.Err)
		}
		return nil
	})
}

func waitUnknown(t *testing.T, m *Mirror, deadline time.Duration, want error) {
	t.Helper()
	etcdtest.WaitFor(t, deadline, func() error {
		if snapshot := m.Snapshot(); snapshot.Known || !errors.Is(snapshot.Err, want) {
			return fmt.Errorf("the mirror is known, or unknown because of %v", snapshot.Err)
		}
		return nil
	})
}

func waitContent(t *testing.T, m *Mirror, deadline time.Duration, want string) {
	t.Helper()
	etcdtest.WaitFor(t, deadline, func() error {
		if got := contentOf(m); got != want {
			return fmt.Errorf("the mirror holds %q, want %q", got, want)
		}
		return nil
	})
}

func contentOf(m *Mirror) string { return keysOf(slices.Collect(m.Snapshot().All(""))) }

func TestMirrorFollows(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	ctx := t.Context()
	a := mustSet(t, s, "/m/a", "1")
	mustSet(t, s, "/other", "1")
	m := startMirror(t, s, "/m")
	waitContent(t, m, time.Second, "/m/a=1")
	if n, ok := m.Snapshot().Get("/m/a"); !ok || n != a {
		t.Errorf("listed %+v, set %+v", n, a)
	}

	before := m.Snapshot()
	b := mustSet(t, s, "/m/d/b", "1")
	waitContent(t, m, time.Second, "/m/a=1 /m/d/b=1")
	if n, ok := m.Snapshot().Get("/m/d/b"); !ok || n != b {
		t.Errorf("followed %+v, set %+v", n, b)
	}
	if before.Len() != 1 || m.Snapshot().Len() != 2 {
		t.Error("a snapshot changed")
	}
	swapped, err := s.CompareAndSwap(ctx, "/m/d/b", "2", b.Modified)
	if err != nil {
		t.Fatal(err)
	}
	waitContent(t, m, time.Second, "/m/a=1 /m/d/b=2")
	if err := s.CompareAndDelete(ctx, "/m/d/b", swapped.Modified); err != nil {
		t.Fatal(err)
	}
	waitContent(t, m, time.Second, "/m/a=1")
	if _, err := s.Create(ctx, "/m/d/c", "1", time.Second); err != nil {
		t.Fatal(err)
	}
	waitContent(t, m, time.Second, "/m/a=1 /m/d/c=1")
	waitContent(t, m, 4*time.Second, "/m/a=1") // it expires

	mustSet(t, s, "/m/d/e", "1")
	mustSet(t, s, "/m/dd", "1")
	waitContent(t, m, time.Second, "/m/a=1 /m/d/e=1 /m/dd=1")
	if err := s.DeleteDir(ctx, "/m/d"); err != nil {
		t.Fatal(err)
	}
	waitContent(t, m, time.Second, "/m/a=1 /m/dd=1")
	if err := s.DeleteDir(ctx, "/m"); err != nil {
		t.Fatal(err)
	}
	waitContent(t, m, time.Second, "")
	mustSet(t, s, "/m/f", "1")
	waitContent(t, m, time.Second, "/m/f=1")
}

func TestMirrorHintsAtEveryChange(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	m := startMirror(t, s, "/m")
	for i := range 20 {
		value := strconv.Itoa(i)
		mustSet(t, s, "/m/a", value)
		for {
			if n, _ := m.Snapshot().Get("/m/a"); n.Value == value {
				break
			}
			select {
			case <-m.Hint():
			case <-time.After(5 * time.Second):
				t.Fatalf("no hint that leads to %s", value)
			}
		}
	}
}

func TestMirrorOfADirectoryThatIsDeletedFromAbove(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	mustSet(t, s, "/x/y/z/a", "1")
	m := startMirror(t, s, "/x/y/z")
	waitContent(t, m, time.Second, "/x/y/z/a=1")
	if err := s.DeleteDir(t.Context(), "/x"); err != nil {
		t.Fatal(err)
	}
	waitContent(t, m, time.Second, "")
}

func TestMirrorOfEverything(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	m := startMirror(t, s, "/")
	mustSet(t, s, "/a", "1")
	waitContent(t, m, time.Second, "/a=1")
}

func TestMirrorSurvivesEtcdsRestart(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1)
	s := open(t, etcd.Endpoints())
	mustSet(t, s, "/m/a", "1")
	m := startMirror(t, s, "/m")
	listed := m.Snapshot()

	etcd.Member(0).Kill()
	waitUnknown(t, m, 5*time.Second, ErrUnavailable)
	lost := m.Snapshot()
	if contentOf(m) != "/m/a=1" || !lost.Listed || !lost.Since.After(listed.Since) {
		t.Errorf("without etcd: %q, %+v", contentOf(m), lost)
	}
	etcd.Member(0).Restart()
	waitKnown(t, m, 5*time.Second)
	mustSet(t, s, "/m/b", "1")
	waitContent(t, m, time.Second, "/m/a=1 /m/b=1")
	if found := m.Snapshot(); !found.Since.After(lost.Since) || found.Err != nil {
		t.Errorf("with etcd again: %+v", found)
	}
}

func TestMirrorSurvivesABurst(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1)
	s := open(t, etcd.Endpoints())
	m := startMirror(t, s, "/m")
	const writers, writes = 8, 200
	want := ""
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range writes {
				if _, err := s.Set(t.Context(), fmt.Sprintf("/m/w%d", w), strconv.Itoa(i), 0); err != nil {
					t.Error(err)
				}
			}
		})
		want += fmt.Sprintf(" /m/w%d=%d", w, writes-1)
	}
	wait.Wait()
	waitContent(t, m, 5*time.Second, want[1:])
}

func TestMirrorThatMissedTheWatchWindow(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1)
	direct := open(t, etcd.Endpoints())
	mustSet(t, direct, "/m/a", "1")

	// The mirror's polls get through one by one, and are given all the time.
	s := open(t, etcd.Endpoints(), func(o *Options) { o.TryTimeout = time.Minute })
	passes, network, cleared := make(chan struct{}, 10), s.transport, make(chan struct{}, 10)
	s.transport = roundTripper(func(req *http.Request) (*http.Response, error) {
		isPoll := req.URL.Query().Get("wait") == "true"
		if isPoll {
			<-passes
		}
		resp, err := network.RoundTrip(req)
		if isPoll && err == nil && resp.StatusCode == http.StatusBadRequest {
			cleared <- struct{}{}
		}
		return resp, err
	})
	m := startMirror(t, s, "/m")
	since := m.Snapshot().Since
	if err := direct.Delete(t.Context(), "/m/a"); err != nil {
		t.Fatal(err)
	}
	// Many at a time: a poll that takes too long would have the mirror list anew by itself.
	var writers sync.WaitGroup
	for range 20 {
		writers.Go(func() {
			for i := range 55 {
				if _, err := direct.Set(t.Context(), "/elsewhere", strconv.Itoa(i), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if got := contentOf(m); got != "/m/a=1" {
		t.Fatalf("the mirror saw an event without a poll: %q", got)
	}
	close(passes)
	waitContent(t, m, 5*time.Second, "")
	if len(cleared) == 0 {
		t.Error("etcd remembered everything; the test shows nothing")
	}
	if got := m.Snapshot(); !got.Known || got.Since != since {
		t.Errorf("the mirror became unknown meanwhile: %+v", got)
	}
}

func TestIdleMirrorKeepsUpWithTheWatchWindow(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints())
	m := startMirror(t, s, "/m")
	last := mustSet(t, s, "/elsewhere", "1")
	etcdtest.WaitFor(t, 3*pollTime, func() error {
		if index := m.Snapshot().Index; index < last.Modified {
			return fmt.Errorf("the mirror is at %d, etcd at %d", index, last.Modified)
		}
		return nil
	})
}

func TestMirrorMovesToAnotherMember(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*etcdtest.Member){
		"killed":    (*etcdtest.Member).Kill,
		"suspended": (*etcdtest.Member).Stop,
	}
	for name, hurt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 3)
			s := open(t, etcd.Endpoints())
			m := startMirror(t, s, "/m")
			polled := s.preferred.Load()
			hurt(etcd.Member(int(polled)))

			others := open(t, slices.Delete(etcd.Endpoints(), int(polled), int(polled)+1))
			mustSet(t, others, "/m/a", "1")
			// The rest of the poll, and a try of the next.
			waitContent(t, m, 3*(pollTime+2*time.Second), "/m/a=1")
		})
	}
}
