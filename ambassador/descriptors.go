package ambassador

import (
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
)

// What the process needs descriptors for beside connections: listeners, Docker, DNS, pipes.
const otherDescriptors = 1000

// raiseFileLimit gives the process the descriptors that so many connections and flows of datagrams
// need, as far as it may, and says if that is too few. Go has raised the soft limit to the hard one
// already.
func raiseFileLimit(connections, flows int, log *slog.Logger) {
	want := uint64(2*connections + flows + otherDescriptors)
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	if err == nil && limit.Cur >= want {
		return
	}
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: max(want, limit.Max)})
	}
	if err != nil {
		log.Info("fewer connections than allowed can be open", "allowed", connections, "flows", flows,
			"descriptors", limit.Cur, "wanted", want, "err", fmt.Errorf("raise limit of descriptors: %w", err))
	}
}
