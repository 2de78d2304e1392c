package conductor

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/conductor/firewall"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

// firewallDaemon is what runs in the firewall container.
type firewallDaemon struct {
	*firewall.Firewall
	hosts *store.Mirror
}

func newFirewall(settings Settings, st *store.Store, log *slog.Logger) (*firewallDaemon, error) {
	ports, err := settings.ports()
	if err != nil {
		return nil, err
	}
	hosts := st.NewMirror(state.HostsDir)
	rules := firewall.Rules{Interface: engine.Network, Gateway: netip.MustParseAddr(engine.NetworkGateway), Ports: ports,
		Fixed: settings.fixedHosts()}
	return &firewallDaemon{Firewall: firewall.New(rules, hosts, log), hosts: hosts}, nil
}

// fixedHosts are the cluster's hosts that the settings name: this one, and those that etcd is
// reached at. They are known also while etcd is away.
func (s *Settings) fixedHosts() []netip.Addr {
	names := []string{s.HostIP}
	for _, address := range s.EtcdAddr {
		if _, rest, isURL := strings.Cut(address, "://"); isURL {
			address = strings.TrimSuffix(rest, "/")
		}
		if host, _, err := net.SplitHostPort(strings.TrimSpace(address)); err == nil {
			names = append(names, host)
		}
	}
	var hosts []netip.Addr
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil && addr.Is4() && !addr.IsLoopback() {
			hosts = append(hosts, addr)
		}
	}
	slices.SortFunc(hosts, netip.Addr.Compare)
	return slices.Compact(hosts)
}

// Run keeps the table until ctx ends.
func (f *firewallDaemon) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ended(ctx, f.hosts.Run(ctx)) })
	group.Go(func() error { return f.Firewall.Run(ctx) })
	return group.Wait()
}
