package skydns

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
)

// countingSource counts how often it was looked at.
type countingSource struct {
	*fakeSource
	looks atomic.Int32
}

func (c *countingSource) Snapshot() store.Snapshot {
	c.looks.Add(1)
	return c.fakeSource.Snapshot()
}

// following runs the test with a server that follows a source, in virtual time.
func following(t *testing.T, test func(t *testing.T, s *Server, source *countingSource)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		source := &countingSource{fakeSource: newFakeSource()}
		s := newServer(t, testConfig(), source)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			s.follow(ctx)
			close(done)
		}()
		synctest.Wait()
		test(t, s, source)
		cancel()
		<-done
	})
}

func TestStormOfChangesIsGathered(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *countingSource) {
		source.looks.Store(0)
		for range 1000 {
			source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(gatherTime + rebuildInterval)
		synctest.Wait()
		if n, most := source.looks.Load(), int32(time.Second/(gatherTime+rebuildInterval))+3; n > most {
			t.Errorf("1000 changes in a second were looked at %d times, want at most %d", n, most)
		}
		if got := s.records.Load().index; got != 1000 {
			t.Errorf("records are those of index %d, want 1000", got)
		}
	})
}

func TestSingleChangeIsNotHeldUp(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *countingSource) {
		time.Sleep(time.Minute)
		source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
		time.Sleep(gatherTime)
		synctest.Wait()
		if r := s.records.Load(); r == nil || r.zone.Len() != 1 {
			t.Error("the change does not show")
		}
	})
}

func TestLostHintIsMadeUpFor(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *countingSource) {
		source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
		select {
		case <-source.hint:
		default:
		}
		time.Sleep(checkInterval)
		synctest.Wait()
		if r := s.records.Load(); r == nil || r.zone.Len() != 1 {
			t.Error("the change does not show")
		}
	})
}

func TestRecordsAreMadeOnlyOfAnotherIndex(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *countingSource) {
		source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
		time.Sleep(checkInterval)
		synctest.Wait()
		first := s.records.Load().zone
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.records.Load().zone != first {
			t.Error("the zone was made again though nothing had changed")
		}
		if age := s.snapshotAge(); age != 0 {
			t.Errorf("the records are %v s old", age)
		}
		source.lose()
		time.Sleep(time.Minute)
		synctest.Wait()
		if age := s.snapshotAge(); age < 59 || age > 62 {
			t.Errorf("a minute after the loss the records are %v s old", age)
		}
	})
}
