// Package ending ends commands that were run in a container beside its own: Docker starts such, and
// has no means to end them. It works from within the container's process namespace, where it needs
// nothing of the container's image.
package ending

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Variable is the environment variable that a command's processes are known by.
const Variable = "DOKKAA_EXEC"

// Times of an end.
const (
	grace    = 5 * time.Second // from the signals that ask to the one that does not
	patience = 3 * time.Second // after that, until a process that is still there is told of
	pause    = 50 * time.Millisecond
)

// Marked tells whether a mark is meant.
type Marked func(mark string) bool

// This is the command with the mark.
func This(mark string) Marked { return func(m string) bool { return m == mark } }

// Others are the commands whose marks do not begin so.
func Others(begin string) Marked { return func(m string) bool { return !strings.HasPrefix(m, begin) } }

// End ends the commands that are meant and have not ended, with all that they started: it tells them
// that their terminal is gone and that they are to end, and kills what has not done so in five
// seconds. It blocks until all are gone, and returns an error if some will not go or ctx ends. What a
// command that has ended by itself left behind stays.
func End(ctx context.Context, meant Marked) error { return newVictims(meant).end(ctx, grace) }

// Signal sends a signal to the commands that are meant, and to all that they started.
func Signal(meant Marked, sig syscall.Signal) error {
	pids, err := newVictims(meant).find()
	for _, pid := range pids {
		signal(pid, sig)
	}
	return err
}

func (v *victims) end(ctx context.Context, grace time.Duration) error {
	begin, asked := time.Now(), map[int]bool{}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		pids, err := v.find()
		if err != nil || len(pids) == 0 {
			return err
		}
		took := time.Since(begin)
		if took > grace+patience {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			switch {
			case took > grace:
				signal(pid, syscall.SIGKILL)
			case !asked[pid]:
				asked[pid] = true
				signal(pid, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGCONT)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// signal sends signals to a process. One that cannot be sent is of no use: it is gone, or seen again.
func signal(pid int, signals ...syscall.Signal) {
	for _, s := range signals {
		_ = syscall.Kill(pid, s)
	}
}
