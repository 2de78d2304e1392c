package dokkaacfg

import "github.com/spf13/cobra"

// aliases are words by which users of Docker and Kubernetes know what ours do.
var aliases = map[string][]string{
	"cat":     {"get"},
	"config":  {"configs"},
	"host":    {"hosts", "node", "nodes"},
	"inspect": {"describe"},
	"logs":    {"log"},
	"ls":      {"list"},
	"rm":      {"remove", "delete"},
	"secret":  {"secrets"},
	"set":     {"create"},
	"stats":   {"top"},
	"volume":  {"volumes"},
}

// addAliases has all commands known by other words, too.
func addAliases(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		sub.Aliases = append(sub.Aliases, aliases[sub.Name()]...)
		addAliases(sub)
	}
}
