package conductor

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"time"

	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

const (
	// preparation is how long a host that just started keeps its lease back until it is fit for
	// containers, so that it gets its share as soon as it shows. After that it shows why it is not.
	preparation = 10 * time.Second
	// conditionPoll is how often it is looked whether the host's condition changed.
	conditionPoll = 100 * time.Millisecond
	// introduction is how often it is looked whether the cluster still remembers this host.
	introduction = time.Minute
)

// condition says why this host takes no new slots.
func (c *Conductor) condition() string { return c.orForeign(c.ailment()) }

// toldCondition is the condition that the cluster is told.
func (c *Conductor) toldCondition() string {
	return c.orForeign(c.standing.tell(c.ailment(), time.Now()))
}

// orForeign is the host's own ailment, unless etcd is what is wrong: then it is that on all hosts,
// and over on all of them at once.
func (c *Conductor) orForeign(ailment string) string {
	if c.foreign() {
		return "etcd is another cluster's"
	}
	return ailment
}

// ailment says what is wrong with the host itself.
func (c *Conductor) ailment() string {
	switch unfit := c.unfit.Load(); {
	case unfit == nil:
		return "containers cannot be isolated yet"
	case *unfit != "":
		return "containers cannot be isolated: " + *unfit
	}
	if condition := c.agent.Condition(); condition != "" {
		return condition
	}
	return c.disk.condition()
}

// foreign tells whether etcd was last seen to be another cluster's, or wiped.
func (c *Conductor) foreign() bool {
	return errors.Is(c.apps.Snapshot().Err, store.ErrForeignCluster)
}

// leaseValue is what the host says of itself now, infoValue what stays true without it.
func (c *Conductor) leaseValue() string { return c.hostValue(c.toldCondition()) }
func (c *Conductor) infoValue() string  { return c.hostValue("") }

func (c *Conductor) hostValue(condition string) string {
	labels, err := c.settings.labels()
	if err != nil {
		panic(err) // was validated
	}
	host := state.Host{IP: c.settings.HostIP, ID: c.id, Version: daemon.Version(), Arch: runtime.GOARCH, Labels: labels, Condition: condition}
	if c.machine.capacity != nil {
		host.CPUs, host.Memory = c.machine.capacity()
	}
	data, err := json.Marshal(host)
	if err != nil {
		panic(err) // strings can be marshalled
	}
	return string(data)
}

// introduce keeps in the store what the cluster remembers of this host when it is gone, until
// ctx ends. Without it the host's slots would be nobody's to move.
func (c *Conductor) introduce(ctx context.Context) error {
	for {
		wait := introduction
		if err := c.writeInfo(ctx); err != nil {
			wait = joinRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (c *Conductor) writeInfo(ctx context.Context) error {
	if c.foreign() {
		return store.ErrForeignCluster
	}
	key, value := state.HostInfoKey(c.settings.HostIP), c.infoValue()
	switch node, err := c.store.Get(ctx, key); {
	case err == nil && node.Value == value:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	_, err := c.store.Set(ctx, key, value, 0)
	return err
}

// waitFit returns when the host is fit for containers, or may not keep it to itself any longer. A
// lease that is still there from before goes on at once: its end would move what runs here.
func (c *Conductor) waitFit(ctx context.Context) {
	if _, err := c.store.Get(ctx, state.HostLeaseKey(c.settings.HostIP)); err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, preparation)
	defer cancel()
	c.eachPoll(ctx, func() bool { return c.condition() != "" })
}

// attend is what is done while the host's lease is held, until ctx ends: who takes the host for lost
// is corrected, and the lease is renewed at once when the host's condition changes.
func (c *Conductor) attend(ctx context.Context) error {
	c.agent.Reannounce()
	told := c.toldCondition()
	c.eachPoll(ctx, func() bool {
		if now := c.toldCondition(); now != told {
			told = now
			c.host.Touch()
		}
		return true
	})
	return nil
}

// eachPoll calls goOn again and again until it returns false or ctx ends.
func (c *Conductor) eachPoll(ctx context.Context, goOn func() bool) {
	ticker := time.NewTicker(conditionPoll)
	defer ticker.Stop()
	for goOn() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
