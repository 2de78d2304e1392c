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
	List(ctx context.Context) ([]engine.Container, error)
	Usage(ctx context.Context, id string) (state.Usage, error)
	Logs(ctx context.Context, id string, o engine.LogOptions, line func(engine.LogLine) error) error
}

// API is the API of a host.
type API struct {
	engine Engine
	log    *slog.Logger
	open   chan struct{} // requests that are being answered
}

// New makes the API. It does no I/O.
func New(e Engine, log *slog.Logger) *API {
	return &API{engine: e, log: log, open: make(chan struct{}, maxOpen)}
}

// Routes serves the API.
func (a *API) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/instances/{instance}/logs", a.bounded(a.logs))
	mux.HandleFunc("GET /v1/instances/{instance}/stats", a.bounded(a.stats))
}

// bounded lets through so many requests of this host at a time.
func (a *API) bounded(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if addr, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !addr.Addr().Unmap().IsLoopback() {
			http.Error(w, "this is for the host itself: ask its gateway", http.StatusForbidden)
			return
		}
		select {
		case a.open <- struct{}{}:
			defer func() { <-a.open }()
			serve(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d clients ask this host already", maxOpen), http.StatusServiceUnavailable)
		}
	}
}

// stats writes what an instance uses of its host, a state.Usage as JSON.
func (a *API) stats(w http.ResponseWriter, r *http.Request) {
	id := a.find(w, r)
	if id == "" {
		return
	}
	usage, err := a.engine.Usage(r.Context(), id)
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
	id := a.find(w, r)
	if id == "" {
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	out := &lineWriter{to: json.NewEncoder(w), control: http.NewResponseController(w), follow: options.Follow}
	defer out.end()
	if err := out.flush(); err != nil { // the client sees at once that there may be nothing yet
		return
	}
	err = a.engine.Logs(r.Context(), id, options, func(line engine.LogLine) error {
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

// find is the id of the container of the instance that is asked for. Without one it answers itself,
// and returns "".
func (a *API) find(w http.ResponseWriter, r *http.Request) (id string) {
	all, err := a.engine.List(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return ""
	}
	for _, c := range all {
		if c.Instance == r.PathValue("instance") {
			return c.ID
		}
	}
	http.Error(w, "this host has no instance "+r.PathValue("instance"), http.StatusNotFound)
	return ""
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
