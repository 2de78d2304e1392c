package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

const (
	// lostPatience is how long the scheduler may take to give others what a host had that is gone.
	lostPatience = 30 * time.Second
	// leasePatience is longer than a host leaves its lease without renewing it.
	leasePatience = 10 * time.Second
)

// readGone returns the hosts that the cluster remembers and that are gone: the provider, which was
// asked, does not have them any more, and they do not renew a lease. One that is merely down the
// provider has; one that was added by hand lives.
func readGone(ctx context.Context, keys clusterKeys, existing []Host) (gone []string, err error) {
	before, err := readInventory(ctx, keys)
	if err != nil {
		return nil, err
	}
	for _, ip := range before.addresses() {
		addr, err := netip.ParseAddr(ip)
		if err != nil || slices.Contains(addresses(existing), addr) {
			continue
		}
		lives, err := renewsLease(ctx, keys, ip, before.hosts[ip])
		if err != nil {
			return nil, err
		}
		if !lives {
			gone = append(gone, ip)
		}
	}
	return gone, nil
}

// renewsLease tells whether a host lives. One that has just gone still has its lease: it is looked at
// until that was renewed or is over.
func renewsLease(ctx context.Context, keys clusterKeys, ip string, before *hostKeys) (lives bool, err error) {
	if before.lost() || before.lease.TTL == 0 {
		return false, nil
	}
	undecided := errors.New("its lease is neither renewed nor over")
	err = poll(ctx, before.lease.TTL+leasePatience, func(ctx context.Context) error {
		all, err := readInventory(ctx, keys)
		switch {
		case err != nil:
			return err
		case all.hosts[ip] == nil || all.hosts[ip].lost():
			return nil
		case all.hosts[ip].lease.Modified != before.lease.Modified:
			lives = true
			return nil
		}
		return undecided
	})
	if err != nil {
		return false, fmt.Errorf("find out whether host %s lives: %w", ip, err)
	}
	return lives, nil
}

// countGone is how many hosts are gone, none where nobody knows.
func (s *session) countGone(ctx context.Context, existing []Host) (n int, err error) {
	if keeper, ok := s.provider.(interface{ keepsHosts() bool }); len(existing) == 0 || ok && keeper.keepsHosts() {
		return 0, nil // there is nothing to know, or nobody who makes others
	}
	err = s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		gone, err := readGone(ctx, keys, existing)
		n = len(gone)
		return err
	})
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		s.log.Info("whether hosts are gone is not known, and none is replaced", "err", err)
		return 0, nil
	}
	return n, nil
}

// forgetGone has the cluster forget hosts that are gone, as host rm does, when others have what they
// had. What cannot be elsewhere is told.
func (s *session) forgetGone(ctx context.Context, p *progress, existing []Host) error {
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		gone, err := readGone(ctx, keys, existing)
		if err != nil {
			return err
		}
		for _, ip := range gone {
			var all inventory
			err := poll(ctx, lostPatience, func(ctx context.Context) (err error) {
				if all, err = readInventory(ctx, keys); err != nil {
					return err
				}
				return all.forgettable(ip)
			})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				p.say("host %s is gone, and not forgotten yet: %v", ip, err)
				continue
			}
			if err := forget(ctx, keys.Store, all.hosts[ip].nodes); err != nil {
				return fmt.Errorf("forget host %s: %w", ip, err)
			}
			p.done("host %s is gone, and forgotten", ip)
		}
		return nil
	})
}
