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
	// maxStreams is how many clients may read logs at a time: each costs Docker a reader.
	maxStreams = 100
	// writeTimeout is how long a client may take nothing.
	writeTimeout = 30 * time.Second
)

// Engine is what the API asks of the host's Docker Engine.
type Engine interface {
	List(ctx context.Context) ([]engine.Container, error)
	Logs(ctx context.Context, id string, o engine.LogOptions, line func(engine.LogLine) error) error
}

// API is the API of a host.
type API struct {
	engine  Engine
	log     *slog.Logger
	streams chan struct{} // those that are open
}

// New makes the API. It does no I/O.
func New(e Engine, log *slog.Logger) *API {
	return &API{engine: e, log: log, streams: make(chan struct{}, maxStreams)}
}

// Routes serves the API.
func (a *API) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/instances/{instance}/logs", a.logs)
}

// logs writes the log of an instance: a state.LogLine as JSON in a line each, and last, if the log
// breaks off, one that says why.
func (a *API) logs(w http.ResponseWriter, r *http.Request) {
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !addr.Addr().Unmap().IsLoopback() {
		http.Error(w, "this is for the host itself: ask its gateway", http.StatusForbidden)
		return
	}
	options, err := logOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case a.streams <- struct{}{}:
		defer func() { <-a.streams }()
	default:
		http.Error(w, fmt.Sprintf("%d clients read logs of this host already", maxStreams), http.StatusServiceUnavailable)
		return
	}
	id, err := a.container(r.Context(), r.PathValue("instance"))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	case id == "":
		http.Error(w, "this host has no instance "+r.PathValue("instance"), http.StatusNotFound)
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

// container is the id of the instance's container, "" if the host has none.
func (a *API) container(ctx context.Context, instance string) (string, error) {
	all, err := a.engine.List(ctx)
	if err != nil {
		return "", err
	}
	for _, c := range all {
		if c.Instance == instance {
			return c.ID, nil
		}
	}
	return "", nil
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
