package conductor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// upkeepInterval is how often the network and the firewall are looked after.
const upkeepInterval = 15 * time.Second

// upkeep keeps the containers' network and the firewall in place. It needs no etcd.
func (c *Conductor) upkeep(ctx context.Context) error {
	// The firewall's container takes a moment to come up; what lasts longer needs a person.
	retry := &backoff.ExponentialBackOff{InitialInterval: 200 * time.Millisecond, Multiplier: 1.5,
		RandomizationFactor: 0.2, MaxInterval: 5 * time.Second}
	said := ""
	for {
		wait := upkeepInterval
		err := c.machine.prepare(ctx)
		c.setFit(err)
		if err == nil {
			retry.Reset()
		} else {
			wait = retry.NextBackOff()
			if err.Error() != said && ctx.Err() == nil {
				c.log.Warn("prepare this host for containers", "err", err)
			}
		}
		said = fmt.Sprint(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// setFit keeps why the host is not fit for containers, in one line.
func (c *Conductor) setFit(err error) {
	why := ""
	if err != nil {
		why = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	c.unfit.Store(&why)
}
