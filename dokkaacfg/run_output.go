package dokkaacfg

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// runOutput shows what a run writes, as it does: from its host while the container is there.
type runOutput struct {
	session  *session
	instance string
	cancel   context.CancelFunc
	ended    chan struct{} // the run has: nothing is waited for any more
	done     chan struct{}
	group    sync.WaitGroup

	mu    sync.Mutex
	lines int
	whole bool // its end was seen
}

// start follows what the run's instance writes, from its beginning. A second time it does nothing.
func (o *runOutput) start(ctx context.Context, ref state.Ref, run state.Run) {
	if o.instance == run.Instance || run.Instance == "" {
		return
	}
	o.end()
	o.instance, o.ended, o.done = run.Instance, make(chan struct{}), make(chan struct{})
	ended, done := o.ended, o.done
	ctx, o.cancel = context.WithCancel(ctx)
	row := instanceReport{Host: run.Host, Instance: run.Instance, Observed: state.Observed{Ref: ref, Slot: run.Slot}}
	o.group.Go(func() {
		defer close(done)
		tick := time.NewTicker(runLook)
		defer tick.Stop()
		for ctx.Err() == nil { // at first there is no container
			err := o.session.readLog(ctx, row, logRequest{tail: -1, follow: true}, o.line)
			o.mu.Lock()
			o.whole = err == nil
			seen := o.lines > 0
			o.mu.Unlock()
			if err == nil || seen {
				return
			}
			select {
			case <-ctx.Done():
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
}

func (o *runOutput) line(l state.LogLine) error {
	o.mu.Lock()
	o.lines++
	o.mu.Unlock()
	var to io.Writer = o.session.out
	if l.Stream == "stderr" {
		to = o.session.errOut
	}
	_, err := fmt.Fprintln(to, printable(to, l.Text))
	return err
}

// finish waits for the rest of what a run wrote that has ended. Where its container was gone too soon,
// what the cluster keeps of it is shown: the last lines.
func (o *runOutput) finish(run state.Run) {
	if o.done != nil {
		close(o.ended)
		select {
		case <-o.done:
		case <-time.After(runOutputPatience):
		}
	}
	o.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.whole || o.lines > 0 || len(run.Log) == 0 {
		return
	}
	fmt.Fprintln(o.session.errOut, "-- its container is gone already; these are the last lines that it wrote")
	for _, line := range run.Log {
		fmt.Fprintln(o.session.out, printable(o.session.out, line))
	}
}

// end stops following.
func (o *runOutput) end() {
	if o.cancel != nil {
		o.cancel()
	}
	o.group.Wait()
}
