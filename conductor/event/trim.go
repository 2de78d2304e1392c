package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	kept      = 1000 // events in the store
	trimming  = 30 * time.Second
	trimSteps = 10 * time.Millisecond // between two deletions, as pace
)

// Trim removes all but the newest events from the store, again and again, until ctx ends. One
// conductor at a time does that.
func (r *Recorder) Trim(ctx context.Context) error {
	said := ""
	for {
		err := r.trim(ctx)
		if err != nil && err.Error() != said && ctx.Err() == nil {
			r.log.Warn("remove old events", "err", err)
		}
		said = fmt.Sprint(err)
		if pause(ctx, trimming) != nil {
			return nil
		}
	}
}

func (r *Recorder) trim(ctx context.Context) error {
	if !r.known() {
		return nil
	}
	events, err := r.store.List(ctx, state.EventsDir)
	if err != nil {
		return err
	}
	for _, old := range events.Nodes[:max(0, len(events.Nodes)-kept)] {
		if err := r.store.Delete(ctx, old.Key); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := pause(ctx, trimSteps); err != nil {
			return err
		}
	}
	return nil
}
