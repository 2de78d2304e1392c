package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Types of the Events that tell of the connection itself.
const (
	Connected    = "connect"    // from here on, every event is told
	Disconnected = "disconnect" // events are missed until the next Connected
)

// Event is something that happened at the Engine.
type Event struct {
	Type       string // "container", "network", "image", ...; Connected, Disconnected
	Action     string // "start", "die", "health_status: healthy", ...
	ID         string // of what it happened to
	Attributes map[string]string
	Time       time.Time
}

// Watch follows the Engine's events that pass the filters (as in `docker events --filter`:
// "type", "event", "label", ...; nil passes all). It calls hint with an Event of type Connected
// each time the connection to the Engine was made, then with each event, and with one of type
// Disconnected when it is lost; one at a time and in order. It blocks until ctx ends and returns
// ctx's error; a lost connection is made again, at once and then ever more patiently.
//
// Events are hints: a new connection begins with those that the Engine remembers since the last
// one told, which may be told twice, but it remembers 256 at most, and none from before it was
// started. Whoever lists on Connected and looks again on every event misses nothing. hint must
// not block, for the Engine drops a reader that falls behind.
func (e *Engine) Watch(ctx context.Context, filters url.Values, hint func(Event)) error {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 100*time.Millisecond, 5*time.Second
	// The Engine answers a moment before it subscribes us: what happens in between comes from
	// its memory, the first time that of the last seconds.
	last := time.Now().Add(-2 * time.Second)
	for failures := 0; ; failures++ {
		start := time.Now()
		err := e.watch(ctx, filters, last, func(event Event) {
			if event.Time.After(last) && event.Type != Connected && event.Type != Disconnected {
				last = event.Time // by the Engine's clock
			}
			hint(event)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// An Engine that accepts and hangs up at once must not reset the patience.
		if time.Since(start) > 2*e.connectTimeout {
			retry.Reset()
			failures = 0
		}
		wait := retry.NextBackOff()
		if failures == 0 {
			e.log.Warn("lost the events of Docker", "host", e.host, "err", err)
		} else {
			e.log.Debug("no events of Docker", "host", e.host, "err", err, "retry", wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// watch follows one connection until it ends, from the events at since on.
func (e *Engine) watch(ctx context.Context, filters url.Values, since time.Time, hint func(Event)) error {
	// The Engine at the other end may be another one than last time.
	if _, err := e.negotiate(ctx, true); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The stream itself may be silent for days, only its start has a deadline.
	patience := time.AfterFunc(e.connectTimeout, func() { cancel(context.DeadlineExceeded) })
	defer patience.Stop()
	resp, err := e.get(ctx, e.eventsPath(filters, since))
	if err != nil {
		return fmt.Errorf("follow events: %w", causeOf(ctx, err))
	}
	defer resp.Body.Close()
	patience.Stop()
	hint(Event{Type: Connected, Time: time.Now()})
	events := json.NewDecoder(resp.Body)
	for {
		event, err := readEvent(events)
		if err != nil {
			hint(Event{Type: Disconnected, Time: time.Now()})
			return fmt.Errorf("read event: %w", causeOf(ctx, err))
		}
		hint(event)
	}
}

func (e *Engine) eventsPath(filters url.Values, since time.Time) string {
	e.mu.Lock()
	api := e.api
	e.mu.Unlock()
	query := url.Values{}
	if len(filters) > 0 {
		query = Filters(filters)
	}
	query.Set("since", fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()))
	return "/v" + api + "/events?" + query.Encode()
}

func readEvent(events *json.Decoder) (Event, error) {
	var message struct {
		Type     string `json:"Type"`
		Action   string `json:"Action"`
		TimeNano int64  `json:"timeNano"`
		Actor    struct {
			ID         string            `json:"ID"`
			Attributes map[string]string `json:"Attributes"`
		} `json:"Actor"`
	}
	if err := events.Decode(&message); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the stream has no end of its own
		}
		return Event{}, err
	}
	return Event{
		Type:       message.Type,
		Action:     message.Action,
		ID:         message.Actor.ID,
		Attributes: message.Actor.Attributes,
		Time:       time.Unix(0, message.TimeNano),
	}, nil
}

// causeOf prefers the reason why ctx ended over the error that its end led to.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
