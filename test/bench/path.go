//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// paths are how long it took until the conductor asked the Engine for a container.
type paths struct {
	put       samples // how long the manifest's PUT took, beside which the others are
	fromPut   samples // from the start of the manifest's PUT
	fromEvent samples // from when somebody else who watches the slot's key was told of it
}

const (
	// pathRounds is how often that is measured: enough for a quantile of 99 %.
	pathRounds = 100
	// pathPause is after what was refused, until the conductor does not look what became of it.
	pathPause = 400 * time.Millisecond
)

// measurePaths measures on the only host of a cluster, with a tap on its Engine. Nothing is started.
func (c *cluster) measurePaths(ctx context.Context) (p paths, err error) {
	t, err := newTap(c.engine(1))
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.insert(ctx, c.engine(1)); err != nil {
		return p, fmt.Errorf("insert the tap: %w", err)
	}
	for round := range pathRounds + 5 {
		var into *paths
		if round >= 5 { // those before may meet a conductor that is just starting
			into = &p
		} else {
			into = new(paths)
		}
		if err := c.measurePath(ctx, t, fmt.Sprintf("path%d", round), into); err != nil {
			return p, err
		}
	}
	// The conductor without the tap comes back.
	return p, errors.Join(c.engine(1).remove(ctx, "conductor"), c.up(ctx, c.hostCount))
}

func (c *cluster) measurePath(ctx context.Context, t *tap, name string, into *paths) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	slot := state.Ref{App: app, Name: name}.SlotKey(1)
	told := make(chan error, 1)
	var toldAt time.Time
	go func() {
		err := c.awaitKey(ctx, slot)
		toldAt = time.Now()
		told <- err
	}()
	if err := wait(ctx, pathPause); err != nil { // until the watch waits, too
		return err
	}
	for len(t.asked) > 0 { // for what was removed meanwhile
		<-t.asked
	}
	start := time.Now()
	if err := c.put(ctx, name, `{"image": "`+shellImage+`"}`); err != nil {
		return err
	}
	into.put = append(into.put, time.Since(start))
	select {
	case asked := <-t.asked:
		if err := <-told; err != nil {
			return err
		}
		into.fromPut, into.fromEvent = append(into.fromPut, asked.Sub(start)), append(into.fromEvent, asked.Sub(toldAt))
	case <-ctx.Done():
		return fmt.Errorf("wait for the request to the Engine: %w", ctx.Err())
	}
	return c.remove(ctx, name)
}

// awaitKey waits until a key that is not there is made.
func (c *cluster) awaitKey(ctx context.Context, key string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.ip(1)+":4001/v2/keys"+key+"?wait=true", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("watch %s: %w", key, err)
	}
	defer resp.Body.Close()
	var event struct{ Node node }
	if err := json.NewDecoder(resp.Body).Decode(&event); err != nil {
		return fmt.Errorf("watch %s: %w", key, err)
	}
	if !strings.HasSuffix(event.Node.Key, key) {
		return fmt.Errorf("watch %s: told of %s", key, event.Node.Key)
	}
	return nil
}
