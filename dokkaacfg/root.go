package dokkaacfg

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dokkaa/dokkaa/internal/daemon"
)

// newRoot is the tree of all commands.
func newRoot(p *invocation) *cobra.Command {
	root := group("dokkaacfg", "Make, grow, show and remove Dokkaa clusters, and look after what runs on them")
	root.Version = daemon.Version()
	root.SetVersionTemplate("dokkaacfg {{.Version}}\n")
	// Main says what is wrong, once; a page of help after it would hide that.
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.errOut)
	addGroup(root, "clusters", "Clusters:", newUpCommand(p), newUpgradeCommand(p), newStatusCommand(p), newDoctorCommand(p), newSSHCommand(p), newDownCommand(p), newDemoCommand(p), newSettingsCommand(p), newEventsCommand(p), newBackupCommand(p), newRestoreCommand(p), newRecoverCommand(p),
		newCertsCommand(p), newCurlCommand(p))
	addGroup(root, "apps", "Applications:", newApplyCommand(p), newConvertCommand(p), newPsCommand(p), newStatsCommand(p), newInspectCommand(p), newLogsCommand(p), newScaleCommand(p), newStopCommand(p),
		newStartCommand(p), newRestartCommand(p), newRollbackCommand(p), newRmCommand(p), newWaitCommand(p), newPromoteCommand(p))
	addGroup(root, "inside", "Into instances:", newExecCommand(p), newRunCommand(p), newPortForwardCommand(p), newOpenCommand(p))
	addGroup(root, "parts", "Hosts, and what containers use:", newHostCommand(p), newVolumeCommand(p), newSecretCommand(p), newConfigCommand(p), newRegistryCommand(p))
	flags := root.PersistentFlags()
	flags.StringVar(&p.Provider, "provider", "", "where the hosts are: local, digitalocean, ssh; default what the cluster was made with, or local")
	flags.StringVar(&p.Cluster, "cluster", "", "`name` of the cluster; default local, or dokkaa if its hosts are elsewhere")
	flags.TextVar(&p.Subnet, "subnet", p.Subnet, "`network` of the virtual hosts; default 10.101.0.0/24. Two clusters on one machine need two")
	flags.StringVar(&p.StateDir, "state-dir", "/var/lib/dokkaa", "`directory` of what is kept about clusters, one directory each")
	flags.BoolVar(&p.Verbose, "verbose", false, "log what happens in detail")
	// Flags of several words can be written as in Go, too: --ssh_key.
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	indentExamples(root)
	addAliases(root)
	return root
}

// group is a command that does nothing but hold others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			says := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
			if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
				says += "; is it " + strings.Join(similar, " or ") + "?"
			}
			return usageError{says}
		},
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.ArbitraryArgs,
		DisableFlagsInUseLine:      true,
	}
	cmd.AddCommand(commands...)
	return cmd
}

// addGroup adds commands that the help shows together.
func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range commands {
		cmd.GroupID = id
		root.AddCommand(cmd)
	}
}

// indentExamples makes the examples look as the rest of the help does.
func indentExamples(cmd *cobra.Command) {
	if cmd.Example != "" {
		cmd.Example = "  " + strings.ReplaceAll(cmd.Example, "\n", "\n  ")
	}
	for _, sub := range cmd.Commands() {
		indentExamples(sub)
	}
}

// yesFlag is that of the commands that remove something.
func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do not ask")
}
