package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// event writes an event about a container of dummy.
func (c *testCluster) event(name, reason string) {
	c.t.Helper()
	value := fmt.Sprintf(`{"time": "2026-11-21T12:00:00Z", "kind": "failed", "app": "dummy", "name": %q, "reason": %q}`, name, reason)
	if _, err := c.keys.Append(c.t.Context(), "/dokkaa/events", value, time.Hour); err != nil {
		c.t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	c := newTestCluster(t)
	if out := c.mustRun("events"); out != "" {
		t.Errorf("a new cluster has events:\n%s", out)
	}
	c.event("nginx", "first")
	c.event("redis", "second")
	c.event("nginx", "third")
	for args, want := range map[string]string{
		"events": "first second third", "events dummy": "first second third",
		"events dummy/nginx": "first third", "events other": "",
	} {
		if got := reasons(c.mustRun(strings.Fields(args)...)); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	const first = `{"time":"2026-11-21T12:00:00Z","kind":"failed","app":"dummy","name":"redis","reason":"second"}` + "\n"
	if out := c.mustRun("events", "dummy/redis", "-o", "json"); out != first {
		t.Errorf("as JSON: %s", out)
	}
	if out := c.mustRun("events", "dummy/redis", "-o", "yaml"); !strings.HasPrefix(out, "---\ntime: ") || !strings.Contains(out, "\nreason: second\n") {
		t.Errorf("as YAML: %s", out)
	}
	for _, bad := range []string{"dummy/", "/nginx", "a/b/c"} {
		c.fails("neither an application nor a container", "events", bad)
	}
}

// reasons are the last words of the lines.
func reasons(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		all = append(all, fields[len(fields)-1])
	}
	return strings.Join(all, " ")
}

// screen is what a command that runs has written so far.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestEventsFollow holds events -f to going on over an outage, and saying so.
func TestEventsFollow(t *testing.T) {
	c := newTestCluster(t)
	c.put("/dokkaa/events/by hand", "sorts behind all others")
	c.event("nginx", "past")
	var shown screen
	ctx, cancel := context.WithCancel(t.Context())
	p := eventPrinter{out: &shown, zone: time.UTC, app: "dummy", name: "nginx"}
	past, err := c.keys.List(ctx, "/dokkaa/events")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.past(past.Nodes); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.follow(ctx, c.keys.NewMirror("/dokkaa/events")); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	wait := func(want string) {
		t.Helper()
		etcdtest.WaitFor(t, 20*time.Second, func() error {
			if got := reasons(shown.String()); !strings.HasPrefix(got, want) {
				return errors.New(shown.String())
			}
			return nil
		})
	}
	c.event("redis", "elsewhere")
	c.event("nginx", "now")
	wait("past now")
	c.etcd.Member(0).Kill()
	etcdtest.WaitFor(t, 20*time.Second, func() error {
		if !strings.Contains(shown.String(), "\n-- the cluster's keys cannot be read, waiting: etcd unavailable") {
			return errors.New(shown.String())
		}
		return nil
	})
	c.etcd.Member(0).Restart()
	c.event("nginx", "later")
	etcdtest.WaitFor(t, 20*time.Second, func() error {
		if !strings.HasSuffix(reasons(shown.String()), " again later") {
			return errors.New(shown.String())
		}
		return nil
	})
}
