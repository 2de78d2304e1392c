package conductor

import (
	"context"
	"log/slog"
	"net/netip"

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
	rules := firewall.Rules{Interface: engine.Network, Gateway: netip.MustParseAddr(engine.NetworkGateway), Ports: ports}
	return &firewallDaemon{Firewall: firewall.New(rules, hosts, log), hosts: hosts}, nil
}

// Run keeps the table until ctx ends.
func (f *firewallDaemon) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ended(ctx, f.hosts.Run(ctx)) })
	group.Go(func() error { return f.Firewall.Run(ctx) })
	return group.Wait()
}
