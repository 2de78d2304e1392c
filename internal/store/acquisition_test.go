package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), s)
}

func TestKeyWithoutATimeToLiveIsNobodysLease(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := open(t, etcdtest.Start(t, 1).Endpoints(), func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	o := exclusive("/dokkaa/scheduler")
	o.TTL = 2 * time.Second
	mustSet(t, s, o.Key, "by hand")
	h := startHolder(t, s, o)
	select {
	case <-h.got:
		t.Fatal("the key was taken at once")
	case <-time.After(o.TTL / 2):
	}
	mustSet(t, s, o.Key, "by hand again") // whoever writes it lives
	select {
	case <-h.got:
		t.Fatal("the key was taken though it changed")
	case <-time.After(o.TTL):
	}
	held := h.waitHeld(t, 5*o.TTL)
	if log.count("has no time to live") == 0 {
		t.Error("nobody said so")
	}

	// Also while it is held: the holder sees that it lost the lease, and gets it back.
	mustSet(t, s, o.Key, "by hand")
	<-held.Done()
	h.waitHeld(t, 5*o.TTL)
}

func TestHolderThatDoesNotRenewIsReportedOnce(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := open(t, etcdtest.Start(t, 1).Endpoints(), func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	o := exclusive("/dokkaa/scheduler")
	o.TTL = time.Second
	if _, err := s.Set(t.Context(), o.Key, "somebody", time.Hour); err != nil {
		t.Fatal(err)
	}
	startHolder(t, s, o)
	const report = "does not renew"
	etcdtest.WaitFor(t, 3*pollTime, func() error {
		if log.count(report) == 0 {
			return fmt.Errorf("it was not reported")
		}
		return nil
	})
	time.Sleep(pollTime + time.Second)
	if n := log.count(report); n != 1 {
		t.Errorf("reported %d times", n)
	}
}
