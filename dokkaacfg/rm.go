package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type rmCommand struct {
	Of      []string
	Yes     bool
	Detach  bool
	Timeout time.Duration
}

func newRmCommand(p *invocation) *cobra.Command {
	c := new(rmCommand)
	cmd := &cobra.Command{
		Use: "rm <app>[/<name>]...", Short: "Remove containers: their manifests, and with them their instances",
		Long: `Remove the manifests of containers, or of all containers of an app, and wait until their instances are gone. Their volumes,
and the secrets and configs of the app, stay.`,
		Example: "dokkaacfg rm dummy/crawler\ndokkaacfg rm dummy --yes",
		Args:    oneOrMore(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	yesFlag(cmd, &c.Yes)
	cmd.Flags().BoolVar(&c.Detach, "detach", false, "do not wait until the instances are gone")
	progressFlag(cmd)
	cmd.Flags().DurationVar(&c.Timeout, "timeout", defaultWait, "give up waiting after so long; 0 never")
	return cmd
}

// Run removes the manifests, after it has said what goes and was told to.
func (c *rmCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		refs, err := all.toRemove(c.Of)
		if err != nil {
			return err
		}
		fmt.Fprintln(s.out, "To be removed:")
		for _, ref := range refs {
			fmt.Fprintf(s.out, "  %s, %s\n", ref, plural(len(all.instanceReports(ref.String())), "instance", "instances"))
		}
		if !c.Yes {
			if err := s.confirm("the name", strings.Join(c.Of, " ")); err != nil {
				return err
			}
		}
		var failed []error
		for _, ref := range refs {
			failed = append(failed, removeKey(ctx, keys.Store, ref.ManifestKey()))
		}
		if err := errors.Join(failed...); err != nil || c.Detach {
			return err
		}
		return c.wait(ctx, s, keys, refs)
	})
}

// toRemove are the containers with a manifest that the user named.
func (i inventory) toRemove(names []string) (refs []state.Ref, err error) {
	seen := map[state.Ref]bool{}
	for _, name := range names {
		found := false
		for _, ref := range i.sortedRefs(strings.TrimSuffix(name, "/")) {
			if name != "" && i.apps[ref].manifest != nil {
				found = true
				if !seen[ref] {
					seen[ref] = true
					refs = append(refs, ref)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no container of %q; dokkaacfg status shows what there is", name)
		}
	}
	return refs, nil
}

// wait waits until no instance is left, and tells what stays.
func (c *rmCommand) wait(ctx context.Context, s *session, keys clusterKeys, refs []state.Ref) (err error) {
	p := newProgress(s.out)
	step := p.step("", "remove")
	defer func() { step.end(err) }()
	begin := time.Now()
	told := map[state.Ref]int{}
	return follow(ctx, p, func(ctx context.Context) (bool, error) {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return false, err
		}
		left := 0
		for _, ref := range refs {
			n := len(all.presentInstances(ref))
			if before, known := told[ref]; n > 0 && (!known || before != n) {
				p.done("%s: %s left", ref, plural(n, "instance", "instances"))
			} else if n == 0 && (!known || before != 0) {
				p.done("%s is removed", ref)
				for _, v := range all.volumeReports() {
					if v.Ref == ref {
						p.say("its volume stays, on host %s; dokkaacfg volume rm %s %s removes it", v.Host, v.Host, v.DockerName)
					}
				}
			}
			told[ref] = n
			left += n
		}
		step.doing("%s to go", plural(left, "instance", "instances"))
		if left > 0 && c.Timeout > 0 && time.Since(begin) > c.Timeout {
			return false, fmt.Errorf("after %s there is still %s; dokkaacfg ps shows which. They go as soon as they can", c.Timeout, plural(left, "instance", "instances"))
		}
		return left == 0, nil
	})
}

// presentInstances are those that slots name or that hosts have which live: a lost host can be
// asked nothing.
func (i inventory) presentInstances(ref state.Ref) (present []instanceReport) {
	for _, r := range i.instanceReports(ref.String()) {
		if h := i.hosts[r.Host]; r.Role != roleOutgoing || h != nil && !h.lost() {
			present = append(present, r)
		}
	}
	return present
}
