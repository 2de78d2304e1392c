package dokkaacfg

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

type upCommand struct {
	Scale  int
	Images string
	Mode   string
	Plan   bool
}

func newUpCommand(p *invocation) *cobra.Command {
	c := new(upCommand)
	cmd := &cobra.Command{
		Use: "up", Short: "Make the cluster, or bring it up to date; add hosts up to --scale",
		Example: "dokkaacfg up --scale=3\ndokkaacfg up                     # what runs is left as it is, what is missing is started\n" +
			"dokkaacfg --provider=digitalocean --cluster=web up --scale=2 --ssh-key=laptop --plan\n" +
			"dokkaacfg --provider=ssh --cluster=web up --host=root@192.0.2.1 --host=root@192.0.2.2",
		Args: exactly(), RunE: p.run(c.Run),
	}
	cmd.Flags().IntVar(&c.Scale, "scale", 0, "`number` of hosts; default as many as there are, with others for those that are gone, at least one")
	imagesFlags(cmd, &c.Images, &p.Registry)
	cmd.Flags().StringVar(&c.Mode, "ambassador-mode", "", "who connects containers: the ambassador (`proxy`), or the kernel what it can (kernel, auto); default as it is")
	cmd.Flags().BoolVar(&c.Plan, "plan", false, "say what would be made and what it costs, and make nothing")
	progressFlag(cmd)
	givenFlags(cmd, &p.Given)
	digitalOceanFlags(cmd, &p.DigitalOcean, &p.Doors.web)
	p.Doors.add(cmd)
	return cmd
}

var ambassadorModes = []string{"proxy", "kernel", "auto"}

// Run makes the cluster or brings it up to date.
func (u *upCommand) Run(ctx context.Context, s *session) error {
	if u.Mode != "" && !slices.Contains(ambassadorModes, u.Mode) {
		return usageError{fmt.Sprintf("--ambassador-mode=%s: it is one of %s", u.Mode, strings.Join(ambassadorModes, ", "))}
	}
	if u.Plan {
		return s.plan(ctx, u.Scale)
	}
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	p := newProgress(s.out)
	hosts, err := s.up(ctx, p, u.Scale, u.Images, u.Mode)
	if err != nil {
		return err
	}
	p.say("the cluster is up after %s; dokkaacfg status shows it", p.total())
	s.sayFirst(p, hosts)
	return nil
}

// up makes the hosts and installs our daemons on them. A scale of 0 leaves their number.
func (s *session) up(ctx context.Context, p *progress, scale int, images, mode string) ([]Host, error) {
	if err := s.checkScale(scale); err != nil {
		return nil, err
	}
	p.title("Cluster %s: %s", s.cluster, s.provider.describe())
	if err := s.provider.prepare(ctx, p); err != nil {
		return nil, err
	}
	scale, err := s.scaleFor(ctx, scale)
	if err != nil {
		return nil, err
	}
	if h, ok := s.provider.(*hosted); ok {
		if err := h.context.write(h.keep); err != nil {
			return nil, err
		}
	}
	step := p.step("", "hosts")
	hosts, err := s.provider.up(ctx, scale, p)
	if err == nil {
		step.done("hosts: %s", listAddresses(hosts))
	}
	step.end(err)
	if err != nil {
		return nil, err
	}
	if err := s.install(ctx, p, hosts, images, mode); err != nil {
		return nil, err
	}
	if err := s.openDoors(); err != nil {
		return nil, err
	}
	return hosts, s.forgetGone(ctx, p, hosts)
}

// install brings the images and our daemons onto the hosts, in place of older ones where there are any.
func (s *session) install(ctx context.Context, p *progress, hosts []Host, images, mode string) error {
	made, err := ensureSecretKey(s.secretKeyFile())
	if err != nil {
		return err
	}
	if made {
		p.done("the cluster's key, which its secrets are encrypted with: %s", s.secretKeyFile())
	}
	i := newInstallation(Installation{Cluster: s.cluster, Hosts: hosts, Images: images, Registry: s.registry, SecretKey: s.secretKeyFile(), Log: s.log, AmbassadorMode: mode}, p)
	i.doors = s.doors
	return i.install(ctx)
}

// sayFirst says how the first manifest gets onto a cluster that is reached over SSH.
func (s *session) sayFirst(p *progress, hosts []Host) {
	if len(hosts) == 0 {
		return
	}
	if host, ok := hosts[0].(hostedHost); ok {
		p.say("a first manifest: dokkaacfg --provider=%s --cluster=%s apply -f nginx.json, or with nothing but curl on a host:", s.provider.(*hosted).name, s.cluster)
		p.say("ssh %s curl -L -XPUT --data-urlencode value@- http://127.0.0.1:%d/v2/keys/apps/dummy/nginx/manifest < nginx.json", host.login(), gatewayPort)
	}
}

// scaleFor is how many hosts there should be after up was told scale.
func (s *session) scaleFor(ctx context.Context, scale int) (int, error) {
	existing, err := s.provider.hosts(ctx)
	if err != nil {
		return 0, err
	}
	if scale == 0 {
		gone, err := s.countGone(ctx, existing)
		if err != nil {
			return 0, err
		}
		scale = max(1, len(existing)+gone)
	}
	if len(existing) > scale {
		return 0, fmt.Errorf("cluster %s has %d hosts; up does not remove any: use --scale=%d, or down first", s.cluster, len(existing), len(existing))
	}
	return scale, nil
}

// checkScale refuses a number of hosts that there cannot be.
func (s *session) checkScale(scale int) error {
	if scale < 0 || scale > s.provider.maxScale() {
		return usageError{fmt.Sprintf("--scale=%d: there can be 1 to %d hosts here: %s", scale, s.provider.maxScale(), s.provider.describe())}
	}
	return nil
}

func listAddresses(hosts []Host) string {
	var all []string
	for _, ip := range addresses(hosts) {
		if ip.IsValid() { // a host may be too new to have one
			all = append(all, ip.String())
		}
	}
	return strings.Join(all, ", ")
}
