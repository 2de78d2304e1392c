package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

const (
	// forgotten is how long nameservers and ambassadors may still hand out a withdrawn record.
	forgotten = recordTTL * time.Second
	// drainPoll is how often the connections of a draining instance are counted.
	drainPoll = 500 * time.Millisecond
	// drainNews is how often it is said at most how many are left.
	drainNews = 3 * time.Second
)

// Connections counts the connections that are open to the ports of a container of this host. An
// error says that it is not known.
type Connections func(ctx context.Context, addr netip.Addr, ports []int) (int, error)

// ending is how an instance is to end.
type ending struct {
	serves  bool          // has services; without any nobody is waited for
	ports   []int         // of those that take connections
	timeout time.Duration // of draining, from the withdrawal on
	grace   time.Duration // from SIGTERM to SIGKILL
}

// endingOf is how a container's instance is to end: as the manifest says that is in force for it. Where
// that cannot be read, the defaults hold.
func endingOf(c engine.Container, snapshot store.Snapshot) ending {
	m := manifestOf(c, snapshot)
	if m == nil {
		ports := slices.SortedFunc(maps.Keys(c.Ports), engine.Port.Compare)
		return ending{serves: len(ports) > 0, ports: tcp(ports), timeout: manifest.DefaultDrainTimeout.Of(), grace: manifest.DefaultStopGracePeriod.Of()}
	}
	return ending{serves: len(m.Services) > 0, ports: tcp(portsOf(m)), timeout: m.DrainTimeout.Of(), grace: m.StopGracePeriod.Of()}
}

// manifestOf is what is in force for a container, nil if it cannot be read.
func manifestOf(c engine.Container, snapshot store.Snapshot) *manifest.Manifest {
	_, m, err := readRevisions(c.Ref, snapshot).inForce(c.Revision)
	if err != nil {
		return nil
	}
	return m
}

// drained tells whether an instance that was withdrawn so long ago may be stopped: nobody is sent to
// it any more and nobody is left, or they had their time. What is not known is left.
func drained(since, timeout time.Duration, left int, known bool) bool {
	return since >= timeout || since >= forgotten && known && left == 0
}

// drain waits until a withdrawn instance may be stopped.
func (a *Agent) drain(ctx context.Context, c engine.Container, e ending) error {
	if c.Status != engine.StatusRunning || !e.serves {
		return nil
	}
	withdrawn := time.Now()
	deadline := withdrawn.Add(e.timeout)
	if err := sleep(ctx, min(forgotten, e.timeout)); err != nil {
		return err
	}
	defer a.tellDraining(c.Instance, "")
	var told time.Time
	for {
		left, err := a.connections(ctx, c, e.ports)
		if drained(time.Since(withdrawn), e.timeout, left, err == nil) {
			if left > 0 || err != nil {
				a.Log.Info("drain timed out", "app", c.App, "container", c.Name, "instance", c.Instance, "connections", left, "err", err)
			}
			return nil
		}
		if time.Since(told) >= drainNews && a.tellDraining(c.Instance, drainingText(left, err)) {
			told = time.Now()
		}
		if err := sleep(ctx, min(drainPoll, time.Until(deadline))); err != nil {
			return err
		}
	}
}

// connections counts those of a container. One that is not on the network has none, nor has one
// that takes datagrams only.
func (a *Agent) connections(ctx context.Context, c engine.Container, ports []int) (int, error) {
	switch {
	case !c.Addr.IsValid() || len(ports) == 0:
		return 0, nil
	case a.Connections == nil:
		return 0, errors.New("nobody counts connections")
	}
	return a.Connections(ctx, c.Addr, ports)
}

// draining begins the reason of an instance that drains.
const draining = "draining: "

// drains tells whether the state is of an instance that drains.
func drains(o state.Observed) bool {
	return o.Phase == state.PhaseStopping && strings.HasPrefix(o.Reason, draining)
}

func drainingText(left int, err error) string {
	if err != nil {
		return draining + "how many connections are left is not known"
	}
	return draining + counted(left, "connection") + " left"
}

// tellDraining has the instance's state say why it still runs, and tells whether that is news.
func (a *Agent) tellDraining(instance, why string) bool {
	a.mu.Lock()
	m := a.recall(instance)
	news := m.draining != why
	m.draining = why
	a.mu.Unlock()
	if news {
		a.Hint()
	}
	return news
}
