package dokkaacfg

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type upgradeCommand struct{ Images string }

func newUpgradeCommand(p *invocation) *cobra.Command {
	c := new(upgradeCommand)
	cmd := &cobra.Command{
		Use: "upgrade", Short: "Replace our daemons by those of other images, host by host, without a failed request",
		Long: "Upgrade loads the images on all hosts, and then replaces our daemons on one host after the other. A new gateway, " +
			"nameserver or ambassador takes over from the old one while both run; a conductor is away for a second, and what it runs " +
			"goes on; a member of etcd is replaced only if its image is another one, while all others are healthy. A daemon that does " +
			"not become healthy is replaced by the one from before, and upgrade ends there: called again it goes on. With older " +
			"images it goes back.",
		Example: "dokkaacfg upgrade --images=build/images",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	cmd.Flags().StringVar(&c.Images, "images", defaultImages(), "`directory` of the images")
	progressFlag(cmd)
	return cmd
}

// Run upgrades the cluster.
func (u *upgradeCommand) Run(ctx context.Context, s *session) error {
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return fmt.Errorf("there is no cluster %s; dokkaacfg up makes it", s.cluster)
	}
	p := newProgress(s.out)
	p.title("Cluster %s: %s", s.cluster, s.provider.describe())
	if err := s.install(ctx, p, hosts, u.Images, ""); err != nil {
		return err
	}
	p.say("the cluster is up to date after %s; dokkaacfg status shows the versions", p.total())
	return nil
}
