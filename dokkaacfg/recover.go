package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"
	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/membership"
	"github.com/dokkaa/dokkaa/internal/docker"
)

// leaderPatience is how long members that were just started may take to agree on a leader.
const leaderPatience = 20 * time.Second

type recoverCommand struct {
	From string
	Yes  bool
}

func newRecoverCommand(p *invocation) *cobra.Command {
	c := new(recoverCommand)
	cmd := &cobra.Command{
		Use: "recover", Short: "Go on with one member of etcd, when most are lost for good",
		Long: `Make the member of etcd that knows most the only one, then add others on the hosts that answer. Nothing is lost that this
member knows; what was written in the last moment before the others were lost may be. What runs goes on running.

It is for a cluster of which most members will not come back. As long as a majority can, bring that back instead. A host
that does not answer now must not come back as it was: with its old member it could go on without the others.
If no member is left, dokkaacfg restore makes etcd anew from a backup.`,
		Example: "dokkaacfg recover                # says what it will do, and asks",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	cmd.Flags().StringVar(&c.From, "from", "", "`address` of the host whose member it is to be; default the one that knows most")
	yesFlag(cmd, &c.Yes)
	return cmd
}

// survivor is a member of etcd that is left.
type survivor struct {
	host Host
	memberStatus
}

// Run makes one member the whole etcd.
func (c *recoverCommand) Run(ctx context.Context, s *session) error {
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	i := newInstallation(Installation{Cluster: s.cluster, SecretKey: s.secretKeyFile(), Log: s.log}, newProgress(s.out))
	i.doors = s.doors
	silent, err := i.connectSome(ctx, hosts)
	if err != nil {
		return err
	}
	left, err := i.survivors(ctx)
	if err != nil {
		return err
	}
	chosen, err := c.choose(left)
	if err != nil {
		return err
	}
	c.say(s, chosen, left, silent)
	if !c.Yes {
		if err := s.confirm("the cluster's name", s.cluster); err != nil {
			return err
		}
	}
	return i.recover(ctx, chosen.host)
}

// connectSome connects to the hosts that answer, and returns the others.
func (i *installation) connectSome(ctx context.Context, hosts []Host) (silent []Host, err error) {
	for _, host := range hosts {
		engine, err := connect(ctx, host, i.log)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			silent = append(silent, host)
			continue
		}
		i.hosts = append(i.hosts, host)
		i.engines[host.IP()] = engine
	}
	if len(i.hosts) == 0 {
		return silent, errors.New("no host answers")
	}
	return silent, nil
}

// survivors are the members on the hosts that answer, which are started if they do not run. It fails
// where they are a majority: then there is nothing to recover from.
func (i *installation) survivors(ctx context.Context) ([]survivor, error) {
	found, err := i.lookForEtcd(ctx)
	if err != nil {
		return nil, err
	}
	for ip, container := range found.containers {
		if !container.State.Running {
			if err := i.engines[ip].start(ctx, container.ID); err != nil {
				return nil, fmt.Errorf("host %s: %w", ip, err)
			}
			container.State.Running = true
		}
	}
	var left []survivor
	etcd := i.etcd(found)
	for _, host := range i.hosts {
		if found.containers[host.IP()] == nil || !found.data[host.IP()] {
			continue
		}
		var status memberStatus
		err := i.until(ctx, func(ctx context.Context) (err error) {
			status, err = etcd.status(ctx, host.IP())
			return err
		})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			i.progress.say("the member on host %s does not answer: %v%s", host.IP(), err, i.logEnd(ctx, host, etcdName))
			continue
		}
		left = append(left, survivor{host, status})
	}
	if len(left) == 0 {
		return nil, errors.New("no member of etcd is left; dokkaacfg restore makes etcd anew from a backup")
	}
	var members []membership.Member
	err = poll(ctx, leaderPatience, func(ctx context.Context) (err error) {
		members, err = etcd.list(ctx)
		return err
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err == nil {
		return nil, fmt.Errorf("etcd has its majority, with %s: there is nothing to recover from. dokkaacfg up replaces what is missing", plural(len(members), "member", "members"))
	}
	return left, nil
}

// choose takes the member that was asked for, or the one that knows most.
func (c *recoverCommand) choose(left []survivor) (survivor, error) {
	if c.From == "" {
		return slices.MaxFunc(left, func(a, b survivor) int {
			return cmp.Or(cmp.Compare(a.Term, b.Term), cmp.Compare(a.Index, b.Index), b.host.IP().Compare(a.host.IP()))
		}), nil
	}
	for _, s := range left {
		if s.host.IP().String() == c.From {
			return s, nil
		}
	}
	return survivor{}, usageError{fmt.Sprintf("host %s has no member of etcd that answers", c.From)}
}

func (c *recoverCommand) say(s *session, chosen survivor, left []survivor, silent []Host) {
	fmt.Fprintf(s.out, "Cluster %s: %s. Most of etcd's members do not answer.\nMembers that do:\n", s.cluster, s.provider.describe())
	for _, l := range left {
		fmt.Fprintf(s.out, "  %s, which knows all up to entry %d of term %d\n", l.host.IP(), l.Index, l.Term)
	}
	fmt.Fprintf(s.out, "That of %s becomes the only one; the data of the others is removed, and new ones are made of it.\nWhat others had agreed on in the last moment, and it did not hear of, is lost.\n", chosen.host.IP())
	if len(silent) > 0 {
		fmt.Fprintf(s.out, "Hosts that do not answer, and must not come back with the members that they have: %s.\n", listAddresses(silent))
	}
}

// recover makes the host's member the only one, and those that are wanted of it. Its first step hinders
// the others from going on together; each can be the last of a call that was killed, since what it
// leaves is less than a majority, as before, or the new etcd.
func (i *installation) recover(ctx context.Context, chosen Host) error {
	for _, host := range i.hosts {
		if host.IP() != chosen.IP() {
			if err := i.engines[host.IP()].stop(ctx, etcdName); err != nil {
				return fmt.Errorf("stop etcd on host %s: %w", host.IP(), err)
			}
		}
	}
	lone := etcdDaemon(i.token, chosen.IP(), i.doors.initialMembers([]netip.Addr{chosen.IP()}), "existing")
	// In force once: the next line's container is without it, and whoever goes on after us makes that.
	forced := lone
	forced.env = append(slices.Clone(lone.env), "ETCD_FORCE_NEW_CLUSTER=true")
	for _, d := range []daemonSpec{forced, lone} {
		if err := i.bring(ctx, chosen, d); err != nil {
			return err
		}
	}
	i.progress.done("etcd: %s is the only member", chosen.IP())
	members, err := i.settleMembers(ctx)
	if err != nil {
		return err
	}
	if err := i.renewGateways(ctx, members); err != nil {
		return err
	}
	if err := i.waitLeases(ctx); err != nil {
		return err
	}
	i.progress.say("etcd has %s again, after %s. dokkaacfg up does the rest", plural(len(members), "member", "members"), i.progress.total())
	return nil
}

// stop stops a container, if there is one.
func (e *engine) stop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := e.client.StopContainerWithContext(name, 5, ctx)
	var stopped *dockerclient.ContainerNotRunning
	if err != nil && !docker.IsNotFound(err) && !errors.As(err, &stopped) {
		return fmt.Errorf("stop container %s: %w", name, err)
	}
	return nil
}
