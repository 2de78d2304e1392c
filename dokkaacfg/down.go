package dokkaacfg

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

type downCommand struct{ Yes bool }

func newDownCommand(p *invocation) *cobra.Command {
	c := new(downCommand)
	cmd := &cobra.Command{
		Use: "down", Short: "Remove the cluster and all its data",
		Example: "dokkaacfg down                   # says what goes, and asks for the cluster's name",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	yesFlag(cmd, &c.Yes)
	progressFlag(cmd)
	return cmd
}

// Run removes the cluster, after it has said what goes and was told to.
func (d *downCommand) Run(ctx context.Context, s *session) (err error) {
	release, err := s.lock()
	if err != nil {
		return err
	}
	defer release()
	leftovers, err := s.provider.leftovers(ctx)
	if err != nil {
		return err
	}
	if len(leftovers) == 0 {
		fmt.Fprintf(s.out, "There is nothing of cluster %s.\n", s.cluster)
		return nil
	}
	hosts, err := s.provider.hosts(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Cluster %s: %s.\n", s.cluster, s.provider.describe())
	if len(hosts) > 0 {
		what := "Its hosts, with all their containers and data"
		if p, ok := s.provider.(interface{ keepsHosts() bool }); ok && p.keepsHosts() {
			what = "Its hosts"
		}
		fmt.Fprintf(s.out, "%s: %s\n", what, listAddresses(hosts))
	}
	fmt.Fprintf(s.out, "To be removed:\n  %s\n", strings.Join(leftovers, "\n  "))
	if err := s.sayKept(ctx); err != nil {
		return err
	}
	if !d.Yes {
		if err := s.confirm("the cluster's name", s.cluster); err != nil {
			return err
		}
	}
	step := newProgress(s.out).step("", "remove")
	defer func() { step.end(err) }()
	if err := s.provider.down(ctx); err != nil {
		return err
	}
	step.done("removed")
	return nil
}

// sayKept tells what stays although it may look like the cluster's.
func (s *session) sayKept(ctx context.Context) error {
	keeper, ok := s.provider.(interface {
		kept(context.Context) ([]string, error)
	})
	if !ok {
		return nil
	}
	kept, err := keeper.kept(ctx)
	if len(kept) > 0 {
		fmt.Fprintf(s.out, "Not removed:\n  %s\n", strings.Join(kept, "\n  "))
	}
	return err
}

// confirm returns nil if the user types the word, which is what the text says.
func (s *session) confirm(what, word string) error {
	if _, machine := s.out.(*jsonLines); machine {
		return usageError{"--json asks nobody: it takes --yes"}
	}
	fmt.Fprintf(s.out, "Type %s to go on: ", what)
	answer, err := bufio.NewReader(s.in).ReadString('\n')
	if strings.TrimSpace(answer) == word {
		return nil
	}
	if err != nil {
		fmt.Fprintln(s.out)
		return usageError{"nobody answers; --yes goes on without asking"}
	}
	return fmt.Errorf("nothing was changed: %q is not %q", strings.TrimSpace(answer), word)
}
