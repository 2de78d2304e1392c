package ambassador

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

const (
	repeatRefusal = 10 * time.Second // a refusal like the last one is logged that often
	maxRefusals   = 1000             // kinds of refusals that are told apart at a time
)

// refusals logs why connections are refused, without letting a caller in a loop fill the log.
type refusals struct {
	to *slog.Logger

	mu   sync.Mutex
	seen map[refusal]*repetition
}

type refusal struct {
	source    netip.Addr
	port      int
	container string
	reason    string
}

type repetition struct {
	logged time.Time
	hidden int
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{to: log, seen: make(map[refusal]*repetition)}
}

func (r *refusals) log(source netip.Addr, port int, container, reason string, err error) {
	hidden, ok := r.admit(refusal{source, port, container, reason}, time.Now())
	if ok {
		r.to.Info("connection refused", "source", source, "port", port, "container", container,
			"reason", reason, "err", err, "repeated", hidden)
	}
}

// admit says whether to log the refusal, and how many like it were not logged before.
func (r *refusals) admit(key refusal, now time.Time) (hidden int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, known := r.seen[key]; known {
		if now.Sub(last.logged) < repeatRefusal {
			last.hidden++
			return 0, false
		}
		hidden = last.hidden
	}
	if len(r.seen) >= maxRefusals {
		clear(r.seen) // a flood of sources: rather too many lines than too much memory
	}
	r.seen[key] = &repetition{logged: now}
	return hidden, true
}
