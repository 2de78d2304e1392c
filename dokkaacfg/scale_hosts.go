package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// scaleHosts adds hosts, or takes some away.
func (c *scaleCommand) scaleHosts(ctx context.Context, s *session, scale int) error {
	if scale < 1 {
		return usageError{"a cluster has at least one host; dokkaacfg down removes it"}
	}
	if err := s.checkScale(scale); err != nil {
		return err
	}
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	existing, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	leaving, err := chooseLeaving(existing, scale, c.Remove)
	if err != nil {
		return err
	}
	staying := slices.DeleteFunc(slices.Clone(existing), func(host Host) bool { return slices.Contains(leaving, host) })
	p := newProgress(s.out)
	if len(leaving) > 0 {
		return s.shrink(ctx, p, staying, leaving, c.Yes)
	}
	hosts, err := s.up(ctx, p, scale, c.Images, "")
	if err != nil {
		return err
	}
	if err := s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error { return takeBack(ctx, p, keys, hosts) }); err != nil {
		return err
	}
	p.say("the cluster has %s after %s", plural(len(hosts), "host", "hosts"), p.total())
	return nil
}

// chooseLeaving are the hosts that go, so that scale are left: those that were named, then those that
// came last.
func chooseLeaving(existing []Host, scale int, named []string) ([]Host, error) {
	var leaving []Host
	for _, name := range named {
		at := slices.IndexFunc(existing, func(host Host) bool { return host.IP().String() == name || hostName(host) == name })
		switch {
		case at < 0:
			return nil, usageError{fmt.Sprintf("there is no host %s; the hosts are %s", name, listAddresses(existing))}
		case !slices.Contains(leaving, existing[at]):
			leaving = append(leaving, existing[at])
		}
	}
	if len(existing)-len(leaving) < scale && len(leaving) > 0 {
		return nil, usageError{fmt.Sprintf("of %s, %d are to go: that does not leave %d", plural(len(existing), "host", "hosts"), len(leaving), scale)}
	}
	for _, host := range slices.Backward(existing) {
		if len(existing)-len(leaving) > scale && !slices.Contains(leaving, host) {
			leaving = append(leaving, host)
		}
	}
	return leaving, nil
}

// hostName is what the provider calls the host, if it has names.
func hostName(host Host) string {
	if named, ok := host.(hostedHost); ok {
		return named.Name
	}
	return ""
}

// takeBack has hosts take their share again that were on their way out.
func takeBack(ctx context.Context, p *progress, keys clusterKeys, hosts []Host) error {
	list, err := keys.List(ctx, state.LeavingDir)
	if err != nil {
		return err
	}
	for _, node := range list.Nodes {
		ip := strings.TrimPrefix(node.Key, state.LeavingDir+"/")
		if !slices.ContainsFunc(hosts, func(host Host) bool { return host.IP().String() == ip }) {
			continue
		}
		availability, err := keys.Get(ctx, state.AvailabilityKey(ip))
		if err == nil && state.Availability(availability.Value) == state.Drained {
			err = setAvailability(ctx, keys, ip, "")
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := removeKey(ctx, keys.Store, node.Key); err != nil {
			return err
		}
		p.done("host %s was on its way out, and takes its share again", ip)
	}
	return nil
}
