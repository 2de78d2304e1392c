package dokkaacfg

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

type portForwardCommand struct {
	instanceFlags
	Of    string
	Ports []string
}

func newPortForwardCommand(p *invocation) *cobra.Command {
	c := new(portForwardCommand)
	cmd := &cobra.Command{
		Use: "port-forward <app>/<service or name> [[<local>:]<port>...]", Short: "Reach ports of instances from this machine",
		Long: `Carry connections to a port of this machine's loopback address to instances of a service, or of a container: to each healthy
one in turn. The port is one of the container, published or not; of a service it need not be said. Without a port of this
machine before the colon any free one is taken, and told. It goes on until it is interrupted.`,
		Example: "dokkaacfg port-forward dummy/nginx 8080:80\ndokkaacfg port-forward shop/postgres",
		Args:    andMore(&c.Ports, &c.Of), ValidArgsFunction: p.completeFirstContainer, RunE: p.run(c.Run),
	}
	c.instanceFlags.add(cmd)
	return cmd
}

// Run carries connections until ctx ends, which is no failure.
func (c *portForwardCommand) Run(ctx context.Context, s *session) error {
	of, err := parseRef(c.Of)
	if err != nil {
		return err
	}
	pairs := []portPair{{}}
	for n, text := range c.Ports {
		pair, err := parsePortPair(text)
		if err != nil {
			return err
		}
		pairs = append(pairs[:n], pair)
	}
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		return s.carry(ctx, keys, tunnelTarget{instanceFlags: c.instanceFlags, of: of}, pairs, func(_ context.Context, t *tunnel) {
			fmt.Fprintf(s.out, "%s leads to %s\n", t.addr(), t)
		})
	})
}

// carry opens a tunnel for each of the pairs, tells of it, and carries connections until ctx ends.
func (s *session) carry(ctx context.Context, keys clusterKeys, target tunnelTarget, pairs []portPair, opened func(context.Context, *tunnel)) error {
	var tunnels []*tunnel
	defer func() {
		for _, t := range tunnels {
			t.listener.Close() // most likely it is
		}
	}()
	p := newProgress(s.errOut)
	for _, pair := range pairs {
		target.port = pair.remote
		t, err := s.openTunnel(ctx, keys, target, pair.local, p.say)
		if err != nil {
			return err
		}
		tunnels = append(tunnels, t)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, t := range tunnels {
		group.Go(func() error { return t.run(ctx) })
		opened(ctx, t)
	}
	return group.Wait()
}

// String tells where connections go.
func (t *tunnel) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.found) == 1 {
		return t.found[0].String()
	}
	return fmt.Sprintf("port %d of %d instances of %s", t.found[0].port, len(t.found), t.target.of)
}
