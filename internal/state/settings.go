package state

import (
	"fmt"
	"time"
)

// What the cluster's settings are where they are not set.
const (
	DefaultHostTTL   = 8 * time.Second
	DefaultHostRenew = 2 * time.Second
)

const (
	minHostTTL   = 2 * time.Second
	maxHostTTL   = time.Hour
	minHostRenew = 100 * time.Millisecond
)

// HostTimes are the TTL of the hosts' leases and how often they are renewed. It fails on what would
// make hosts lost that live, or never lost.
func (s Settings) HostTimes() (ttl, renew time.Duration, err error) {
	if ttl, err = duration("host_lease", s.HostTTL, DefaultHostTTL); err != nil {
		return 0, 0, err
	}
	if renew, err = duration("host_lease_renew", s.HostRenew, DefaultHostRenew); err != nil {
		return 0, 0, err
	}
	switch {
	case ttl < minHostTTL || ttl > maxHostTTL || ttl%time.Second != 0:
		return 0, 0, fmt.Errorf("host_lease=%s: it must be whole seconds, from 2s to 1h", ttl)
	case renew < minHostRenew:
		return 0, 0, fmt.Errorf("host_lease_renew=%s: it must be at least %s", renew, minHostRenew)
	case renew > ttl/3:
		return 0, 0, fmt.Errorf("host_lease_renew=%s: it must be at most a third of host_lease, which is %s: one renewal that fails must not lose a host", renew, ttl)
	}
	return ttl, renew, nil
}

func duration(field, text string, fallback time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s=%s: it must be a duration such as %s", field, text, fallback)
	}
	return d, nil
}
