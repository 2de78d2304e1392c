package agent

import "context"

// How much is done at a time on a host. More would not end sooner, and Docker and what runs
// already would have to wait.
const (
	startPlaces = 8 // containers that are created and started; with 4, 50 of them take a sixth longer
	pullPlaces  = 3
	stopPlaces  = 8 // each mostly waits for its container to end
	exitPlaces  = 4
)

// places lets so many do something at a time.
type places chan struct{}

func newPlaces(n int) places { return make(places, n) }

// take takes a place if one is free.
func (p places) take() bool {
	select {
	case p <- struct{}{}:
		return true
	default:
		return false
	}
}

// wait takes a place once one is free, or returns the error of a ctx that ends before.
func (p places) wait(ctx context.Context) error {
	select {
	case p <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter takes a place once one is free, however long that takes.
func (p places) enter() { p <- struct{}{} }

func (p places) leave() { <-p }
