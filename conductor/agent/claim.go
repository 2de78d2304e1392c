package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
)

const (
	claimTimeout = 10 * time.Second // of what is to be written and read before a fenced instance starts
	claimRetry   = 2 * time.Second
)

// errUnclaimed says that an instance may not be started here now. That is not its own failure.
var errUnclaimed = errors.New("its volume cannot be claimed")

// leaseless are the instances that may not be started now, for the host's lease does not let them.
func (a *Agent) leaseless(want map[string]Desired, now time.Time) map[string]bool {
	all := map[string]bool{}
	containers, _ := sortOut(a.containers)
	for id, d := range want {
		all[id] = !a.lets(d.leash(containers[id]), now)
	}
	return all
}

// lets tells whether the host's lease lets an instance start that has such a leash.
func (a *Agent) lets(l leash, now time.Time) bool {
	if a.Lease == nil || !l.held() {
		return true
	}
	renewed, ttl := a.Lease()
	return !renewed.IsZero() && now.Before(l.ends(renewed, ttl))
}

// leash is the instance's: its manifest's, or that of the container if the manifest cannot be read.
func (d Desired) leash(c engine.Container) leash {
	if d.Manifest != nil {
		return leashOf(d.Manifest)
	}
	return parseLeash(c.Leash)
}

// claim returns when a fenced instance may be started: this host's state says that it has it, so that
// nobody takes it for gone, after which the slot still names it, and the lease lives. The order
// matters: a scheduler that takes it out of its slot after that sees that it is here.
func (a *Agent) claim(ctx context.Context, d Desired, c engine.Container) error {
	l := d.leash(c)
	if a.Lease == nil || !l.fenced {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	for !a.publisher.has(a.stateKey(d.Instance)) {
		if err := sleep(ctx, withdrawPoll); err != nil {
			return fmt.Errorf("%w: this host's state cannot be written", errUnclaimed)
		}
	}
	node, err := a.Store.Get(ctx, d.Ref.SlotKey(d.Slot))
	if err != nil {
		return fmt.Errorf("%w: %w", errUnclaimed, err)
	}
	if slot, _ := readSlot(node.Value); !names(slot, a.HostIP, d.Instance) {
		return fmt.Errorf("%w: the slot is another's by now", errUnclaimed)
	}
	if !a.lets(l, time.Now()) {
		return fmt.Errorf("%w: this host's lease is not renewed", errUnclaimed)
	}
	return nil
}

// names tells whether a slot assigns the instance to the host.
func names(slot state.Slot, host, instance string) bool {
	for _, assigned := range []*state.Assignment{slot.Current, slot.Next} {
		if assigned != nil && assigned.Host == host && assigned.Instance == instance {
			return true
		}
	}
	return false
}
