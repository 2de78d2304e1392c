package skydns

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// following runs the test with a server that follows a source, in virtual time.
func following(t *testing.T, test func(t *testing.T, s *Server, source *fakeSource)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		source := newFakeSource()
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

func TestStormOfChangesIsTakenOver(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *fakeSource) {
		for range 1000 {
			source.set(map[string]string{"a": `{"host":"10.0.0.1"}`})
		}
		synctest.Wait()
		if got := s.records.Load().snapshot.Index; got != 1000 {
			t.Errorf("records are those of index %d, want 1000", got)
		}
	})
}

func TestChangeIsNotHeldUp(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *fakeSource) {
		for n := range 10 {
			values := map[string]string{}
			for i := range n {
				values[strconv.Itoa(i)] = `{"host":"10.0.0.1"}`
			}
			source.set(values)
			synctest.Wait() // no time passes
			if r := s.records.Load(); r == nil || r.zone.Len() != n {
				t.Errorf("change %d does not show", n)
			}
		}
	})
}

func TestLostHintIsMadeUpFor(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *fakeSource) {
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

func TestNothingIsMadeAnewWithoutAChange(t *testing.T) {
	following(t, func(t *testing.T, s *Server, source *fakeSource) {
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
