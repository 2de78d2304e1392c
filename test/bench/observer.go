//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// sighting is a container that was seen to start, and then to serve.
type sighting struct {
	addr             string // where its port is published
	started, serving time.Time
}

// observer sees by the events of Engines which containers with a label start, and asks each of them
// from then on until it serves. So nobody's word is taken for anything, and nothing is asked while
// there is nobody to answer.
type observer struct {
	label string
	since time.Time
	http  *http.Client
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu   sync.Mutex
	seen []sighting // that serve
	err  error
}

// observe begins to look. The caller closes the observer.
func observe(ctx context.Context, label string, engines ...engine) *observer {
	ctx, stop := context.WithCancel(ctx)
	// What starts is reachable before the Engine tells of it, so a packet that got lost is not waited for.
	o := &observer{label: label, since: time.Now(), stop: stop, http: newHTTP(100 * time.Millisecond)}
	for _, e := range engines {
		o.wg.Go(func() { o.note(ctx, o.follow(ctx, e)) })
	}
	return o
}

func (o *observer) close() {
	o.stop()
	o.wg.Wait()
}

// note keeps the first error that is not due to the end.
func (o *observer) note(ctx context.Context, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && err != nil && ctx.Err() == nil {
		o.err = err
	}
}

// follow reads an Engine's events until ctx ends.
func (o *observer) follow(ctx context.Context, e engine) error {
	query := url.Values{
		// The Engine answers a moment before it listens to itself; what is between comes from its memory.
		"since":   {fmt.Sprintf("%d.%09d", o.since.Unix(), o.since.Nanosecond())},
		"filters": {`{"type":["container"],"event":["start"],"label":["` + o.label + `"]}`},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/events?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := e.transport().RoundTrip(req)
	if err != nil {
		return fmt.Errorf("follow events: %w", err)
	}
	defer resp.Body.Close()
	events := json.NewDecoder(resp.Body)
	for {
		var event struct {
			Actor    reference `json:"Actor"`
			TimeNano int64     `json:"timeNano"`
		}
		if err := events.Decode(&event); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		o.wg.Go(func() { o.note(ctx, o.ask(ctx, e, event.Actor.ID, time.Unix(0, event.TimeNano))) })
	}
}

// ask asks a container that started until it serves.
func (o *observer) ask(ctx context.Context, e engine, id string, started time.Time) error {
	c, err := e.inspect(ctx, id)
	if err != nil {
		return err
	}
	addr, err := e.served(c)
	if err != nil {
		return err
	}
	if err := until(ctx, 2*time.Millisecond, func() error { return get(ctx, o.http, addr) }); err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, sighting{addr: addr, started: started, serving: time.Now()})
	return nil
}

// serving waits until so many containers that started serve, and returns them in the order in which
// they did.
func (o *observer) serving(ctx context.Context, n int) (seen []sighting, err error) {
	var broken error
	err = until(ctx, polling, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		broken, seen = o.err, slices.Clone(o.seen)
		if len(seen) < n && broken == nil {
			return fmt.Errorf("%d of %d containers serve", len(seen), n)
		}
		return nil
	})
	slices.SortFunc(seen, func(a, b sighting) int { return a.serving.Compare(b.serving) })
	return seen, errors.Join(err, broken)
}

// newHTTP makes a client with a connection of its own for each request: one that is kept would
// outlive what it led to.
func newHTTP(dialing time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: dialing}
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}
}
