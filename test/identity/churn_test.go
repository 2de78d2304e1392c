//go:build linux

package identity

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// The caller's exit codes.
const (
	killed     = 137
	terminated = 143
)

// TestIdentity has containers call on a host with a real Engine.
func TestIdentity(t *testing.T) {
	w := newWorld(t)
	w.churns()
	w.hostIsRefused()
	w.cannotSpoof()
	w.goesOnWithoutDocker()
}

// churns starts and ends containers as fast as Docker can, on addresses that are used again at once.
// Each calls from its first instruction on, at a port that it may be the first to want, and each has
// a backend of its own. Not one connection reaches another's, and none is refused whose caller lives.
func (w *world) churns() {
	churn := &churn{world: w, until: time.Now().Add(churnTime)}
	var group sync.WaitGroup
	for range churnAtOnce {
		group.Go(func() {
			for !w.t.Failed() && !churn.over() {
				churn.life()
			}
		})
	}
	group.Wait()
	w.t.Logf("%d starts and ends, at most %d containers at a time, %v connections", churn.events.Load(), churn.most.Load(), w.metric("connections_total"))
	if churn.events.Load() < churnLeast {
		w.t.Errorf("only %d starts and ends", churn.events.Load())
	}
	for line := range strings.Lines(w.metrics()) {
		// Who ended while its connection waited is nobody any more. Who lives and is refused ends with a
		// code that says so.
		gone := strings.Contains(line, `"unknown"`) || strings.Contains(line, `"stranger"`)
		if strings.HasPrefix(line, "dokkaa_ambassador_refused_total") && !gone {
			w.t.Errorf("connections were taken for others': %s", line)
		}
	}
}

// churn is the state of churns.
type churn struct {
	*world
	until  time.Time
	number atomic.Int64 // of the last caller
	events atomic.Int64
	alive  atomic.Int64
	most   atomic.Int64
}

func (c *churn) over() bool { return time.Now().After(c.until) && c.events.Load() >= churnEvents }

// life is what one container sees.
func (c *churn) life() {
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	who := caller{number: int(c.number.Add(1)), network: network, ambassador: gateway4, port: 10001 + rand.IntN(100), connections: 1 + rand.IntN(50)}
	switch rand.IntN(8) {
	case 0:
		who.network = "bridge"
	case 1:
		who.network = "mine"
	case 2:
		who.ambassador = gateway6
	}
	id, err := c.start(ctx, who)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.events.Add(1)
	now := c.alive.Add(1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	c.end(ctx, who, id)
	c.alive.Add(-1)
	if err := c.remove(ctx, id); err != nil {
		c.t.Error(err)
	}
}

// end lets the container end in one of the ways there are.
func (c *churn) end(ctx context.Context, who caller, id string) {
	lived := time.Duration(rand.IntN(2000)) * time.Millisecond
	var err error
	switch rand.IntN(5) {
	case 0:
		pause(ctx, lived)
		err = c.client.KillContainer(dockerclient.KillContainerOptions{ID: id, Signal: dockerclient.SIGKILL, Context: ctx})
	case 1:
		pause(ctx, lived)
		err = c.client.StopContainerWithContext(id, 1, ctx)
	case 2: // it may have another address after that
		pause(ctx, lived)
		if err = c.client.RestartContainer(id, 1); err == nil {
			c.events.Add(2)
		}
	case 3: // and an address more
		if who.network != "mine" {
			err = c.client.ConnectNetwork("mine", dockerclient.NetworkConnectionOptions{Container: id, Context: ctx})
		}
	}
	var notRunning *dockerclient.ContainerNotRunning
	var refusal *dockerclient.Error // or "is not running", of one that has ended before
	if err != nil && !errors.As(err, &notRunning) && !(errors.As(err, &refusal) && strings.Contains(refusal.Message, "not running")) {
		c.t.Error(err)
		return
	}
	code, err := c.wait(ctx, id)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.events.Add(1)
	if code != 0 && code != killed && code != terminated {
		c.t.Errorf("caller %+v ended with %d: %s", who, code, c.logs(ctx, id))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
