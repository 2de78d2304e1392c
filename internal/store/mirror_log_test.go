package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestMirrorSaysOnceWhy: that etcd is away, and that it is another, is in the log once each,
// however often it is found.
func TestMirrorSaysOnceWhy(t *testing.T) {
	var log bytes.Buffer
	s := open(t, []string{"http://127.0.0.1:1"}, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	m := s.NewMirror("/apps")
	away, foreign := fmt.Errorf("%w: refused", ErrUnavailable), fmt.Errorf("%w: it has no id", ErrForeignCluster)
	for _, err := range []error{away, away, foreign, foreign, away} {
		m.lose(t.Context(), err)
	}
	for _, why := range []string{"refused", "it has no id"} {
		if n := strings.Count(log.String(), why); n != 1 {
			t.Errorf("%q is in the log %d times:\n%s", why, n, log.String())
		}
	}
}
