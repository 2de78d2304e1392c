package dokkaacfg

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type hostDrainCommand struct {
	hostArg
	Detach  bool
	Timeout time.Duration
}

func newHostDrainCommand(p *invocation) *cobra.Command {
	c := new(hostDrainCommand)
	cmd := &cobra.Command{
		Use: "drain <ip>", Short: "Move all that a host runs to others, and give it nothing new",
		Example: "dokkaacfg host drain 10.101.0.2\ndokkaacfg host undrain 10.101.0.2",
		Args:    exactly(&c.IP), ValidArgsFunction: p.completeHosts, RunE: p.run(c.Run),
	}
	progressFlag(cmd)
	cmd.Flags().BoolVar(&c.Detach, "detach", false, "do not wait until the host is empty")
	cmd.Flags().DurationVar(&c.Timeout, "timeout", drainTimeout, "give up waiting when nothing moves for so long")
	return cmd
}

// drainTimeout is how long one waits for something to move at all.
const drainTimeout = 30 * time.Second

// movingPatience is how long one waits for what is on its way without a sign of it: a large image
// takes its time, and so do connections that end.
const movingPatience = 10 * time.Minute

// Run drains the host, and waits until it is empty.
func (c *hostDrainCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) (err error) {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		ip, _, err := c.in(all)
		if err != nil {
			return err
		}
		if err := setAvailability(ctx, keys, ip, state.Drained); err != nil {
			return err
		}
		p := newProgress(s.out)
		p.say("host %s is drained: it takes nothing new, and what it has moves to other hosts", ip)
		if c.Detach {
			return nil
		}
		select { // for the scheduler to have its say
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followInterval):
		}
		step := p.step(ip, "drain")
		defer func() { step.end(err) }()
		w := drainWatch{ip: ip, progress: p, step: step, timeout: c.Timeout, told: map[string]remainder{}}
		return follow(ctx, p, func(ctx context.Context) (bool, error) {
			all, err := readInventory(ctx, keys)
			if err != nil {
				return false, err
			}
			return w.look(all, time.Now())
		})
	})
}

// drainWatch tells what happens while a host is drained.
type drainWatch struct {
	ip       string
	progress *progress
	step     *step
	timeout  time.Duration
	told     map[string]remainder // what was said last of what is left, by instance
	changed  time.Time            // when that was last another
}

// look tells what has changed, and whether the host is empty. The error says that it will not
// be, as it looks.
func (w *drainWatch) look(all inventory, now time.Time) (empty bool, err error) {
	if h := all.hosts[w.ip]; h == nil || h.availability != state.Drained {
		return false, fmt.Errorf("host %s is not drained any more: somebody took it back", w.ip)
	}
	left := all.leftOn(w.ip)
	w.tell(left, now)
	if len(left) == 0 {
		w.progress.say("host %s is empty", w.ip)
		return true, nil
	}
	patience := w.timeout
	if slices.ContainsFunc(left, func(r remainder) bool { return r.moving }) {
		patience = max(movingPatience, w.timeout)
	}
	if now.Sub(w.changed) < patience {
		return false, nil
	}
	var stuck []string
	for _, r := range left {
		stuck = append(stuck, "  "+r.String())
	}
	return false, fmt.Errorf("nothing has moved for %s; host %s still has\n%s\nIt stays drained: what can move later, will. dokkaacfg host undrain %s takes it back",
		patience, w.ip, strings.Join(stuck, "\n"), w.ip)
}

func (w *drainWatch) tell(left []remainder, now time.Time) {
	if w.changed.IsZero() {
		w.changed = now
	}
	there := map[string]bool{}
	for _, r := range left {
		there[r.instance] = true
		if w.told[r.instance] != r {
			w.told[r.instance] = r
			w.changed = now
			w.progress.done("%s", r)
			w.step.doing("%s to go", plural(len(left), "instance", "instances"))
		}
	}
	for _, instance := range slices.Sorted(maps.Keys(w.told)) {
		if !there[instance] {
			w.changed = now
			w.progress.done("%s: left the host, %d to go", w.told[instance].name(), len(left))
			delete(w.told, instance)
		}
	}
}

// remainder is what a host still has, or is about to have.
type remainder struct {
	state.Ref
	slot     int
	instance string
	why      string // it is still there
	moving   bool   // it is on its way
}

func (r remainder) name() string   { return fmt.Sprintf("%s %d", r.Ref, r.slot) }
func (r remainder) String() string { return r.name() + ": " + r.why }

// leftOn is what is left on a host: the slots that are assigned to it, and what it still runs
// that no slot names. What a lost host runs is not known, and does not count.
func (i inventory) leftOn(ip string) []remainder {
	var left []remainder
	assigned := map[string]bool{}
	for _, ref := range slices.SortedFunc(maps.Keys(i.apps), compareRefs) {
		for _, n := range slices.Sorted(maps.Keys(i.apps[ref].slots)) {
			slot := i.apps[ref].slots[n]
			for _, a := range []*state.Assignment{slot.Current, slot.Next} {
				if a != nil {
					assigned[a.Instance] = true
				}
			}
			if isOn(slot, ip) {
				left = append(left, i.remainderOf(ip, ref, n, slot))
			}
		}
	}
	if i.hosts[ip].lost() {
		return left
	}
	for _, id := range slices.Sorted(maps.Keys(i.hosts[ip].instances)) {
		if o := i.hosts[ip].instances[id]; !assigned[id] {
			left = append(left, remainder{Ref: o.Ref, slot: o.Slot, instance: id, why: "it is being stopped", moving: true})
		}
	}
	return left
}

// remainderOf tells why a slot is on the host.
func (i inventory) remainderOf(ip string, ref state.Ref, n int, slot state.Slot) remainder {
	r := remainder{Ref: ref, slot: n}
	switch {
	case slot.Next != nil && slot.Next.Host == ip:
		r.instance, r.why, r.moving = slot.Next.Instance, "it was starting here", true
	case slot.Next != nil:
		next := i.observed(slot.Next)
		r.instance = slot.Current.Instance
		r.why = joinText(fmt.Sprintf("moves to host %s: %s", slot.Next.Host, cmp.Or(string(next.Phase), "assigned")), next.Reason)
		r.moving = next.Phase != state.PhaseFailed && !next.GaveUp
	default:
		r.instance = slot.Current.Instance
		r.why = i.whyHere(ip, ref, n)
	}
	return r
}

func (i inventory) observed(a *state.Assignment) state.Observed {
	if h := i.hosts[a.Host]; h != nil {
		return h.instances[a.Instance]
	}
	return state.Observed{}
}

// whyHere tells why a slot that is on the host has nowhere to go yet: what the scheduler says, or
// else that its data is here.
func (i inventory) whyHere(ip string, ref state.Ref, n int) string {
	app := i.apps[ref]
	var said []string
	if app.status != nil {
		for _, slot := range app.status.Slots {
			if slot.Slot == n && slot.Reason != "" {
				said = append(said, slot.Reason)
			}
		}
		if len(said) == 0 {
			said = app.status.Waiting
		}
	}
	if len(said) == 0 {
		for _, name := range slices.Sorted(maps.Keys(i.hosts[ip].volumes)) {
			if v := i.hosts[ip].volumes[name]; v.Ref == ref && (v.Slot == 0 || v.Slot == n) {
				said = append(said, fmt.Sprintf("its volume %s is on this host", v.Volume))
			}
		}
	}
	return cmp.Or(strings.Join(said, "; "), "it waits for its turn")
}
