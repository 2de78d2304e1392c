package hostapi

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
)

const (
	// endAgain is when to try again to end a command that could not be ended.
	endAgain = 2 * time.Second
	// leaveTime is how long commands may take to end with the conductor. What is left is ended by
	// the next one.
	leaveTime = 8 * time.Second
)

// Run ends what an earlier process of this host left running, and when ctx ends it ends all commands
// and connections, and waits for that.
func (a *API) Run(ctx context.Context) error {
	a.endLeftCommands(ctx)
	<-ctx.Done()
	a.mu.Lock()
	a.end() // from here on none begins
	a.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		a.running.Wait() // each of which may have something to end
		a.ending.Wait()
	}()
	select {
	case <-gone:
	case <-time.After(leaveTime):
		a.log.Warn("commands have not ended yet; the next conductor ends them")
	}
	return nil
}

// begin counts a command or connection in, until done is called. It is false once the conductor ends.
func (a *API) begin() (done func(), ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.life.Err() != nil {
		return nil, false
	}
	a.running.Add(1)
	return a.running.Done, true
}

// newMark is a mark for a command.
func (a *API) newMark() string { return a.id + "/" + rand.Text() }

// endLeftCommands ends the commands whose clients were cut off when an earlier process ended. It is
// tried until Docker has answered for each container.
func (a *API) endLeftCommands(ctx context.Context) {
	done := map[string]bool{} // containers, by id
	for ctx.Err() == nil {
		containers, err := a.engine.List(ctx)
		failed := err
		for _, c := range containers {
			if done[c.ID] || c.Status != engine.StatusRunning {
				continue
			}
			if err := a.engine.EndOtherCommands(ctx, c.ID, a.id+"/"); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			done[c.ID] = true
		}
		if failed == nil || errors.Is(failed, engine.ErrNoContainer) {
			return
		}
		a.log.Warn("commands of before could not be ended", "err", failed)
		select {
		case <-ctx.Done():
		case <-time.After(endAgain):
		}
	}
}

// endCommand has a command ended that has no client any more. It is tried until it works, or the
// conductor ends.
func (a *API) endCommand(container, mark string) {
	a.ending.Go(func() {
		ctx := context.WithoutCancel(a.life) // also what ends with the conductor is ended
		for {
			err := a.engine.EndCommand(ctx, container, mark)
			if err == nil {
				return
			}
			a.log.Warn("a command could not be ended", "container", container, "err", err)
			if a.life.Err() != nil || errors.Is(err, engine.ErrNoContainer) {
				return
			}
			select {
			case <-a.life.Done():
			case <-time.After(endAgain):
			}
		}
	})
}
