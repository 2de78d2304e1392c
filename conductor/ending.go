package conductor

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/conductor/ending"
)

// Instead does what a process of the conductor's is for that is no daemon, and tells whether it was one.
func (s *Settings) Instead(ctx context.Context) (done bool, err error) {
	if s.EndExec == "" {
		return false, nil
	}
	meant := ending.This(s.EndExec)
	if begin, others := strings.CutPrefix(s.EndExec, "!"); others {
		meant = ending.Others(begin)
	}
	if s.EndSignal == "" {
		return true, ending.End(ctx, meant)
	}
	signal := unix.SignalNum("SIG" + s.EndSignal)
	if signal == 0 {
		return true, fmt.Errorf("there is no signal %q", s.EndSignal)
	}
	return true, ending.Signal(meant, signal)
}
