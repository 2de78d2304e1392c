package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/manifest"
)

type hostRmCommand struct {
	hostArg
	Yes bool
}

func newHostRmCommand(p *invocation) *cobra.Command {
	c := new(hostRmCommand)
	cmd := &cobra.Command{
		Use: "rm <ip>", Short: "Forget a host that is lost and has nothing left",
		Example: "dokkaacfg host rm 10.101.0.3",
		Args:    exactly(&c.IP), ValidArgsFunction: p.completeHosts, RunE: p.run(c.Run),
	}
	yesFlag(cmd, &c.Yes)
	return cmd
}

// Run makes the cluster forget a host.
func (c *hostRmCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		ip, h, err := c.in(all)
		if err != nil {
			return err
		}
		if err := all.forgettable(ip); err != nil {
			return err
		}
		if len(h.nodes) == 0 {
			_, err := fmt.Fprintf(s.out, "Nothing is known of host %s.\n", ip)
			return err
		}
		fmt.Fprintf(s.out, "To be forgotten of host %s:\n  %s\n", ip, strings.Join(h.remembered(), "\n  "))
		if !c.Yes {
			if err := s.confirm("the host's address", ip); err != nil {
				return err
			}
		}
		if err := forget(ctx, keys.Store, h.nodes); err != nil {
			return fmt.Errorf("forget host %s: %w", ip, err)
		}
		fmt.Fprintf(s.out, "host %s is forgotten; if it comes back, it joins anew\n", ip)
		if slices.ContainsFunc(keys.hosts, func(known netip.Addr) bool { return known.String() == ip }) {
			fmt.Fprintf(s.out, "It is still one of the hosts that were made (%s), and shown as such\n", s.provider.describe())
		}
		return nil
	})
}

// forgettable says why a host cannot be forgotten.
func (i inventory) forgettable(ip string) error {
	if !i.hosts[ip].lost() {
		return fmt.Errorf("host %s has a lease: it lives. Only a lost host can be forgotten: drain it, and take it away first", ip)
	}
	var left []string
	for _, r := range i.leftOn(ip) {
		// One of mode global was for this host alone, and goes with it.
		if m := i.apps[r.Ref].parsedManifest(); m == nil || m.Mode != manifest.Global {
			left = append(left, r.String())
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("host %s is not empty, it still has\n  %s\nWhat waits for a volume of it may move after dokkaacfg volume rm --force", ip, strings.Join(left, "\n  "))
	}
	return nil
}

// remembered is what the cluster knows of the host, in words.
func (h *hostKeys) remembered() []string {
	var all []string
	if h.availability != "" {
		all = append(all, "availability: "+string(h.availability))
	}
	if len(h.labels) > 0 {
		all = append(all, "labels: "+listLabels(h.labels))
	}
	for _, name := range slices.Sorted(maps.Keys(h.volumes)) {
		all = append(all, fmt.Sprintf("volume %s of %s, whose data is on the host and stays there", name, h.volumes[name].Ref))
	}
	for _, id := range slices.Sorted(maps.Keys(h.instances)) {
		all = append(all, fmt.Sprintf("instance %s of %s, as it was when the host was last seen", id, h.instances[id].Ref))
	}
	all = append(all, plural(len(h.nodes), "key", "keys")+" below "+path.Dir(h.nodes[0].Key))
	return all
}

// forget deletes the keys as they were read: what was written since, by a host that came back,
// stays and is an error.
func forget(ctx context.Context, keys *store.Store, nodes []store.Node) error {
	dirs := map[string]bool{}
	for _, node := range nodes {
		err := keys.CompareAndDelete(ctx, node.Key, node.Modified)
		if errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("it has come back: %w", err)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		for dir := path.Dir(node.Key); dir != state.HostsDir; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	// The deepest first.
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(dirs))) {
		if err := keys.DeleteEmptyDir(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}
