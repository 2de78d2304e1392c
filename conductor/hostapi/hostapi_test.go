package hostapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

// fakeEngine has one container.
type fakeEngine struct {
	*fakeCommands
	status  engine.Status // of the container; running if it is ""
	noAddr  bool
	lines   []engine.LogLine
	fails   error // after the lines
	listErr error
	asked   engine.LogOptions
	hold    chan struct{} // if it is not nil, a log goes on until this is closed
}

func (f *fakeEngine) List(context.Context) ([]engine.Container, error) {
	c := engine.Container{ID: "c1", Instance: "i1", Status: cmp.Or(f.status, engine.StatusRunning)}
	if !f.noAddr {
		c.Addr = netip.MustParseAddr("127.0.0.1")
	}
	return []engine.Container{c}, f.listErr
}

func (f *fakeEngine) Logs(ctx context.Context, id string, o engine.LogOptions, line func(engine.LogLine) error) error {
	f.asked = o
	for _, l := range f.lines {
		if err := line(l); err != nil {
			return err
		}
	}
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
		}
	}
	return f.fails
}

func (f *fakeEngine) Usage(context.Context, string) (state.Usage, error) {
	return state.Usage{CPUs: 0.5, Memory: 7}, f.fails
}

func ask(t *testing.T, a *API, from, target string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	a.Routes(mux)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	mux.ServeHTTP(deadlines{w}, r)
	return w
}

// deadlines is a recorder that can be given a deadline, as a connection can.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }

func TestLogs(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := &fakeEngine{lines: []engine.LogLine{{Time: at, Stream: "stdout", Text: "<one>"}, {Time: at, Stream: "stderr", Text: "two"}}, fails: errors.New("Docker went away")}
	a := New(e, slog.New(slog.DiscardHandler))
	w := ask(t, a, "127.0.0.1:5", "/v1/instances/i1/logs?follow=true&tail=7&since=2026-01-02T03:04:05.5Z")
	var got []state.LogLine
	for decoder := json.NewDecoder(w.Body); decoder.More(); {
		var line state.LogLine
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	if len(got) != 3 || got[0] != (state.LogLine{Time: at, Stream: "stdout", Text: "<one>"}) || got[2].Error != "Docker went away" {
		t.Errorf("got %+v", got)
	}
	if !e.asked.Follow || e.asked.Tail != 7 || !e.asked.Since.Equal(at.Add(500*time.Millisecond)) {
		t.Errorf("asked %+v", e.asked)
	}
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		from, target string
		engine       *fakeEngine
		want         int
		says         string
	}{
		"another host":   {"10.0.0.2:5", "/v1/instances/i1/logs", &fakeEngine{}, 403, "this is for the host itself"},
		"loopback of 6":  {"[::1]:5", "/v1/instances/i1/logs", &fakeEngine{}, 200, ""},
		"mapped":         {"[::ffff:10.0.0.2]:5", "/v1/instances/i1/logs", &fakeEngine{}, 403, "this is for the host itself"},
		"no such":        {"127.0.0.1:5", "/v1/instances/i2/logs", &fakeEngine{}, 404, "this host has no instance i2"},
		"Docker hangs":   {"127.0.0.1:5", "/v1/instances/i1/logs", &fakeEngine{listErr: errors.New("Docker does not answer")}, 503, "Docker does not answer"},
		"bad tail":       {"127.0.0.1:5", "/v1/instances/i1/logs?tail=-1", &fakeEngine{}, 400, "tail:"},
		"bad since":      {"127.0.0.1:5", "/v1/instances/i1/logs?since=1h", &fakeEngine{}, 400, "since:"},
		"bad follow":     {"127.0.0.1:5", "/v1/instances/i1/logs?follow=maybe", &fakeEngine{}, 400, "follow:"},
		"usage":          {"127.0.0.1:5", "/v1/instances/i1/stats", &fakeEngine{}, 200, `{"cpus":0.5,"memory":7,"received":0,"sent":0,"processes":0}`},
		"usage, afar":    {"10.0.0.2:5", "/v1/instances/i1/stats", &fakeEngine{}, 403, "this is for the host itself"},
		"usage, hangs":   {"127.0.0.1:5", "/v1/instances/i1/stats", &fakeEngine{fails: errors.New("Docker does not answer")}, 503, "Docker does not answer"},
		"usage of none":  {"127.0.0.1:5", "/v1/instances/i2/stats", &fakeEngine{}, 404, "this host has no instance i2"},
		"something else": {"127.0.0.1:5", "/v1/instances/i1/top", &fakeEngine{}, 404, ""},
		"wrong method":   {"127.0.0.1:5", "/v1/instances/i1/exec", &fakeEngine{}, 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(t, New(test.engine, slog.New(slog.DiscardHandler)), test.from, test.target)
			if w.Code != test.want || !strings.Contains(w.Body.String(), test.says) {
				t.Errorf("%d %s, want %d %q", w.Code, w.Body, test.want, test.says)
			}
		})
	}
}

// Too many readers are turned away, and a place is free again when one leaves.
func TestRequestsAreBounded(t *testing.T) {
	e := &fakeEngine{hold: make(chan struct{})}
	a := New(e, slog.New(slog.DiscardHandler))
	for range maxOpen {
		a.reads <- struct{}{}
	}
	if w := ask(t, a, "127.0.0.1:5", "/v1/instances/i1/logs"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", w.Code)
	}
	<-a.reads
	close(e.hold)
	if w := ask(t, a, "127.0.0.1:5", "/v1/instances/i1/logs"); w.Code != http.StatusOK || len(a.reads) != maxOpen-1 {
		t.Errorf("a free place: %d, %d open", w.Code, len(a.reads))
	}
}
