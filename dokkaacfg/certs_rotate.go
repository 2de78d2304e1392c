package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/certificates"
)

// readAgain is more than daemons take to see that their files have changed.
const readAgain = 3 * time.Second

type certsRotateCommand struct{ CA bool }

func newCertsRotateCommand(p *invocation) *cobra.Command {
	c := new(certsRotateCommand)
	cmd := &cobra.Command{
		Use: "rotate", Short: "Give all hosts new certificates, without a stop",
		Example: "dokkaacfg --provider=ssh --cluster=web certs rotate\ndokkaacfg --provider=ssh --cluster=web certs rotate --ca    # who has an old one is not believed any more",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	cmd.Flags().BoolVar(&c.CA, "ca", false, "make new authorities too; members of etcd are restarted one after the other")
	return cmd
}

// Run gives all hosts new certificates.
func (c *certsRotateCommand) Run(ctx context.Context, s *session) error {
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	a, err := s.readAuthorities()
	if err != nil {
		return err
	}
	dir := s.doors.authorities
	changing, err := a.Changing(dir)
	if err != nil {
		return err
	}
	if changing && !c.CA {
		return errors.New("new authorities were begun to be made: dokkaacfg certs rotate --ca goes on with that")
	}
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	p := newProgress(s.out)
	i := newInstallation(Installation{Cluster: s.cluster, Hosts: hosts, SecretKey: s.secretKeyFile(), Log: s.log}, p)
	i.doors = s.doors
	if err := i.connect(ctx); err != nil {
		return err
	}
	if c.CA {
		return i.changeAuthorities(ctx, a, changing)
	}
	if err := i.certify(ctx, a, true); err != nil {
		return err
	}
	p.say("all certificates are new. Old ones are good until they end; to end them now: dokkaacfg certs rotate --ca")
	return nil
}

// changeAuthorities has all hosts believe new authorities as well, then have certificates of these,
// then believe the old ones no more. Each step is done on all hosts before the next one begins, so
// that any two hosts always believe each other; killed anywhere, it goes on with the step that it was in.
func (i *installation) changeAuthorities(ctx context.Context, a certificates.Authorities, begun bool) (err error) {
	dir := i.doors.authorities
	next := func() error {
		if a, err = a.Next(i.cluster, time.Now()); err != nil {
			return err
		}
		return a.Write(dir)
	}
	if !begun {
		if err := next(); err != nil {
			return err
		}
	}
	if err := certificates.Begin(dir); err != nil {
		return err
	}
	for {
		if err := i.follow(ctx, a); err != nil {
			return fmt.Errorf("%w\nThe same command goes on from here; until then hosts believe old and new authorities", err)
		}
		i.progress.done("all hosts: %s", a.Phase())
		if a.Phase() == certificates.Settled {
			return certificates.End(dir)
		}
		if err := next(); err != nil {
			return err
		}
	}
}

// follow has hosts, and this machine, do as the authorities are now.
func (i *installation) follow(ctx context.Context, a certificates.Authorities) (err error) {
	if err := a.WriteOperator(i.doors.authorities, time.Now()); err != nil {
		return err
	}
	if err := i.certify(ctx, a, false); err != nil {
		return err
	}
	if err := pause(ctx, readAgain); err != nil {
		return err
	}
	if err := i.reopen(); err != nil {
		return err
	}
	found, err := i.lookForEtcd(ctx)
	if err != nil {
		return err
	}
	return i.runEtcd(ctx, found)
}
