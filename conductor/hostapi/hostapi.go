// Package hostapi is the HTTP API of a host below /v1: what a person wants to know of its
// containers and etcd does not hold. It answers the host itself alone, whatever address the
// conductor's operations have: the way in is the host's gateway, which says who may.
package hostapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	// maxOpen is how many clients may ask at a time: each costs Docker something.
	maxOpen = 100
	// writeTimeout is how long a client may take nothing.
	writeTimeout = 30 * time.Second
)

// Engine is what the API asks of the host's Docker Engine.
type Engine interface {
	Commands
	List(ctx context.Context) ([]engine.Container, error)
	Usage(ctx context.Context, id string) (state.Usage, error)
	Logs(ctx context.Context, id string, o engine.LogOptions, line func(engine.LogLine) error) error
}

// API is the API of a host.
type API struct {
	engine   Engine
	log      *slog.Logger
	reads    places // requests that are being answered
	commands places
	forwards places
	id       string // of this process: its commands' marks begin so

	mu      sync.Mutex      // while one of those below begins, or all end
	life    context.Context // commands and connections end with it
	end     context.CancelFunc
	running sync.WaitGroup // commands and connections
	ending  sync.WaitGroup // of commands whose clients are gone
}

// New makes the API. It does no I/O.
func New(e Engine, log *slog.Logger) *API {
	a := &API{engine: e, log: log, reads: make(places, maxOpen), commands: make(places, maxCommands), forwards: make(places, maxForwards),
		id: state.NewInstanceID()}
	a.life, a.end = context.WithCancel(context.Background())
	return a
}

// Routes serves the API.
func (a *API) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/instances/{instance}/logs", bounded(a.reads, a.logs))
	mux.HandleFunc("GET /v1/instances/{instance}/stats", bounded(a.reads, a.stats))
	mux.HandleFunc("POST /v1/instances/{instance}/exec", bounded(a.commands, a.counted(a.exec)))
	mux.HandleFunc("POST /v1/instances/{instance}/forward", bounded(a.forwards, a.counted(a.forward)))
}

// places are how many requests are let through at a time.
type places chan struct{}

// bounded lets requests of this host through, so many at a time.
func bounded(free places, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if addr, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !addr.Addr().Unmap().IsLoopback() {
			http.Error(w, "this is for the host itself: ask its gateway", http.StatusForbidden)
			return
		}
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
			serve(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d clients ask this of the host already", cap(free)), http.StatusServiceUnavailable)
		}
	}
}

// counted has the end of the conductor wait for requests that have no end of their own.
func (a *API) counted(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		done, ok := a.begin()
		if !ok {
			http.Error(w, "the conductor ends", http.StatusServiceUnavailable)
			return
		}
		defer done()
		serve(w, r)
	}
}

// stats writes what an instance uses of its host, a state.Usage as JSON.
func (a *API) stats(w http.ResponseWriter, r *http.Request) {
	c, ok := a.find(w, r)
	if !ok {
		return
	}
	usage, err := a.engine.Usage(r.Context(), c.ID)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(usage); err != nil {
		a.log.Debug("client left", "err", err)
	}
}

// logs writes the log of an instance: a state.LogLine as JSON in a line each, and last, if the log
// breaks off, one that says why.
func (a *API) logs(w http.ResponseWriter, r *http.Request) {
	options, err := logOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c, ok := a.find(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	out := &lineWriter{to: json.NewEncoder(w), control: http.NewResponseController(w), follow: options.Follow}
	defer out.end()
	if err := out.flush(); err != nil { // the client sees at once that there may be nothing yet
		return
	}
	err = a.engine.Logs(r.Context(), c.ID, options, func(line engine.LogLine) error {
		return out.write(state.LogLine{Time: line.Time, Stream: line.Stream, Text: line.Text})
	})
	if err != nil && r.Context().Err() == nil && out.err == nil {
		if err := out.write(state.LogLine{Error: err.Error()}); err != nil {
			a.log.Debug("client left", "err", err)
		}
	}
}

// logOptions reads follow, since (a time, RFC 3339) and tail (a number).
func logOptions(r *http.Request) (o engine.LogOptions, err error) {
	o.Tail = -1
	query := r.URL.Query()
	if text := query.Get("follow"); text != "" {
		if o.Follow, err = strconv.ParseBool(text); err != nil {
			return o, fmt.Errorf("follow: %q is neither true nor false", text)
		}
	}
	if text := query.Get("since"); text != "" {
		if o.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return o, fmt.Errorf("since: %q is no time such as 2006-01-02T15:04:05Z", text)
		}
	}
	if text := query.Get("tail"); text != "" {
		if o.Tail, err = strconv.Atoi(text); err != nil || o.Tail < 0 {
			return o, fmt.Errorf("tail: %q is no number of lines", text)
		}
	}
	return o, nil
}

// find is the container of the instance that is asked for. Without one it answers itself.
func (a *API) find(w http.ResponseWriter, r *http.Request) (c engine.Container, ok bool) {
	all, err := a.engine.List(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return c, false
	}
	for _, c := range all {
		if c.Instance == r.PathValue("instance") {
			return c, true
		}
	}
	http.Error(w, "this host has no instance "+r.PathValue("instance"), http.StatusNotFound)
	return c, false
}

// findRunning is find of one that has processes.
func (a *API) findRunning(w http.ResponseWriter, r *http.Request) (c engine.Container, ok bool) {
	c, ok = a.find(w, r)
	if ok && c.Status != engine.StatusRunning {
		http.Error(w, fmt.Sprintf("instance %s does not run: its container is %s: %s", c.Instance, c.Status, c.Detail), http.StatusConflict)
		return c, false
	}
	return c, ok
}

// lineWriter writes to a client that may be slow, or gone.
type lineWriter struct {
	to      *json.Encoder
	control *http.ResponseController
	follow  bool
	err     error // of an earlier write
}

func (w *lineWriter) write(line state.LogLine) error {
	if w.err = w.control.SetWriteDeadline(time.Now().Add(writeTimeout)); w.err != nil {
		return w.err
	}
	if w.err = w.to.Encode(line); w.err != nil || !w.follow {
		return w.err
	}
	return w.flush()
}

// end leaves the connection to later requests as it was.
func (w *lineWriter) end() { _ = w.control.SetWriteDeadline(time.Time{}) } // one that cannot is gone

func (w *lineWriter) flush() error {
	w.err = w.control.Flush()
	return w.err
}
