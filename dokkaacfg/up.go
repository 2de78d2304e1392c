package dokkaacfg

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

type upCommand struct {
	Scale  int
	Images string
}

func newUpCommand(p *invocation) *cobra.Command {
	c := new(upCommand)
	cmd := &cobra.Command{
		Use: "up", Short: "Make the cluster, or bring it up to date; add hosts up to --scale",
		Example: "dokkaacfg up --scale=3\ndokkaacfg up                     # what runs is left as it is, what is missing is started",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	cmd.Flags().IntVar(&c.Scale, "scale", 0, "`number` of hosts; default as many as there are, at least one")
	cmd.Flags().StringVar(&c.Images, "images", defaultImages(), "`directory` of the images")
	return cmd
}

// Run makes the cluster or brings it up to date.
func (u *upCommand) Run(ctx context.Context, s *session) error {
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	p := newProgress(s.out)
	if _, err := s.up(ctx, p, u.Scale, u.Images); err != nil {
		return err
	}
	p.say("the cluster is up after %s; dokkaacfg status shows it", p.total())
	return nil
}

// up makes the hosts and installs our daemons on them. A scale of 0 leaves their number.
func (s *session) up(ctx context.Context, p *progress, scale int, images string) ([]Host, error) {
	if scale < 0 || scale > s.provider.maxScale() {
		return nil, usageError{fmt.Sprintf("--scale=%d: there can be 1 to %d hosts here: %s", scale, s.provider.maxScale(), s.provider.describe())}
	}
	p.title("Cluster %s: %s", s.cluster, s.provider.describe())
	if err := s.provider.prepare(ctx, p); err != nil {
		return nil, err
	}
	existing, err := s.provider.hosts(ctx)
	if err != nil {
		return nil, err
	}
	if scale == 0 {
		scale = max(1, len(existing))
	}
	if len(existing) > scale {
		return nil, fmt.Errorf("cluster %s has %d hosts; up does not remove any: use --scale=%d, or down first", s.cluster, len(existing), len(existing))
	}
	hosts, err := s.provider.up(ctx, scale)
	if err != nil {
		return nil, err
	}
	p.done("hosts: %s", listAddresses(hosts))
	made, err := ensureSecretKey(s.secretKeyFile())
	if err != nil {
		return nil, err
	}
	if made {
		p.done("the cluster's key, which its secrets are encrypted with: %s", s.secretKeyFile())
	}
	i := newInstallation(Installation{Cluster: s.cluster, Hosts: hosts, Images: images, SecretKey: s.secretKeyFile(), Log: s.log}, p)
	return hosts, i.install(ctx)
}

func listAddresses(hosts []Host) string {
	var all []string
	for _, ip := range addresses(hosts) {
		all = append(all, ip.String())
	}
	return strings.Join(all, ", ")
}
