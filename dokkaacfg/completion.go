package dokkaacfg

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// completionTimeout is how long a person waits who pressed the tab key.
const completionTimeout = 2 * time.Second

// completeContainers offers the cluster's containers, as <app>/<name>.
func (p *invocation) completeContainers(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.complete(cmd, func(all inventory) (names []cobra.Completion) {
		for _, ref := range slices.SortedFunc(maps.Keys(all.apps), compareRefs) {
			names = append(names, ref.String())
		}
		return names
	})
}

// completeFirstContainer offers them for the first argument.
func (p *invocation) completeFirstContainer(cmd *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return p.completeContainers(cmd, args, text)
}

// completeHosts offers the hosts' addresses for the first argument.
func (p *invocation) completeHosts(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.complete(cmd, inventory.addresses)
}

// complete asks the cluster. There is nobody to tell if it does not answer.
func (p *invocation) complete(cmd *cobra.Command, names func(inventory) []cobra.Completion) (offered []cobra.Completion, _ cobra.ShellCompDirective) {
	s, err := p.open(p)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer s.close()
	s.log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	err = s.withKeys(ctx, completionTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		offered = names(all)
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return offered, cobra.ShellCompDirectiveNoFileComp
}
