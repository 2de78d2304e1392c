package conductor

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// settingsPoll is how often it is looked whether the cluster's settings changed.
const settingsPoll = 10 * time.Second

// hostTimes are how long hosts may be silent before they count as lost, and how often they say that
// they are there. They are settings of the cluster.
type hostTimes struct{ ttl, renew time.Duration }

// parseHostTimes reads them from the cluster's settings.
func parseHostTimes(settings string) (t hostTimes, err error) {
	var s state.Settings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		return t, err
	}
	t.ttl, t.renew, err = s.HostTimes()
	return t, err
}

// followSettings keeps to the cluster's settings until ctx ends; refused as in readSettings.
func (c *Conductor) followSettings(ctx context.Context, refused string) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settingsPoll):
		}
		refused = c.readSettings(ctx, refused)
	}
}

// readSettings takes over the cluster's settings. What cannot be read or is nonsense leaves them as
// they are. It returns the nonsense that the log was told of; said is what it returned before.
func (c *Conductor) readSettings(ctx context.Context, said string) (refused string) {
	if c.foreign() {
		return said
	}
	node, err := c.store.Get(ctx, state.SettingsKey)
	switch {
	case errors.Is(err, store.ErrNotFound):
		node.Value = "{}"
	case err != nil:
		return said
	}
	times, err := parseHostTimes(node.Value)
	if err != nil {
		if node.Value != said {
			c.log.Warn("the cluster's settings are refused, those before stay", "key", state.SettingsKey, "err", err)
		}
		return node.Value
	}
	if times != *c.times.Load() {
		c.log.Info("the cluster's settings changed", "host_lease", times.ttl, "host_lease_renew", times.renew)
		c.times.Store(&times)
		c.host.SetTimes(times.ttl, times.renew)
	}
	return ""
}
