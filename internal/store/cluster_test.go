package store

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

func TestWipedEtcdIsUnknownNotEmpty(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1)
	s := open(t, etcd.Endpoints(), func(o *Options) { o.ClusterKey = "/dokkaa/cluster" })
	for i := range 50 {
		mustSet(t, s, "/elsewhere", strconv.Itoa(i))
	}
	mustSet(t, s, "/dokkaa/cluster", "us")
	mustSet(t, s, "/m/a", "1")
	m := startMirror(t, s, "/m")

	etcd.Member(0).Wipe()
	waitUnknown(t, m, 10*time.Second, ErrForeignCluster)
	if contentOf(m) != "/m/a=1" || !m.Snapshot().Listed {
		t.Errorf("the mirror of a wiped etcd holds %q", contentOf(m))
	}
	mustSet(t, s, "/dokkaa/cluster", "somebody else")
	mustSet(t, s, "/m/theirs", "1")
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if snapshot := m.Snapshot(); snapshot.Known || contentOf(m) != "/m/a=1" {
			t.Fatalf("the mirror took another cluster's content: %q", contentOf(m))
		}
		time.Sleep(10 * time.Millisecond)
	}
	// Restored from a copy, at whatever index.
	if err := s.DeleteDir(t.Context(), "/m"); err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, "/m/a", "2")
	mustSet(t, s, "/dokkaa/cluster", "us")
	waitKnown(t, m, 10*time.Second)
	waitContent(t, m, time.Second, "/m/a=2")
}

func TestMirrorInsistsOnThePinnedCluster(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints(), func(o *Options) { o.ClusterKey = "/dokkaa/cluster" })
	s.Pin("us")
	m := s.NewMirror("/m")
	run(t, m)
	waitUnknown(t, m, 5*time.Second, ErrForeignCluster)
	if m.Snapshot().Listed {
		t.Error("something was taken from a foreign cluster")
	}
	mustSet(t, s, "/dokkaa/cluster", "us")
	waitKnown(t, m, 5*time.Second)
}

func TestLostClusterKeyIsNoticed(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t, 1).Endpoints(), func(o *Options) { o.ClusterKey = "/dokkaa/cluster" })
	mustSet(t, s, "/dokkaa/cluster", "us")
	mustSet(t, s, "/quiet/a", "1")
	mirrors := []*Mirror{startMirror(t, s, "/quiet"), startMirror(t, s, "/busy"), startMirror(t, s, "/quiet/too")}
	// One mirror hears something all the time.
	stop := make(chan struct{})
	var busy sync.WaitGroup
	defer busy.Wait()
	defer close(stop)
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				if _, err := s.Set(t.Context(), "/busy/a", "1", 0); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for name, hurt := range map[string]func(){
		"deleted": func() {
			if err := s.Delete(t.Context(), "/dokkaa/cluster"); err != nil {
				t.Fatal(err)
			}
		},
		"changed": func() { mustSet(t, s, "/dokkaa/cluster", "them") },
	} {
		hurt()
		for _, m := range mirrors {
			waitUnknown(t, m, 2*pollTime, ErrForeignCluster)
		}
		if got := contentOf(mirrors[0]); got != "/quiet/a=1" {
			t.Errorf("%s: the mirror holds %q", name, got)
		}
		mustSet(t, s, "/dokkaa/cluster", "us")
		for _, m := range mirrors {
			waitKnown(t, m, 5*time.Second)
		}
	}
}
