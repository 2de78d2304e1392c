package dokkaacfg

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command shows how it is used, and each that shows a table can write that for programs.
func TestEachCommandHasAnExample(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.HasSubCommands() {
			for _, sub := range cmd.Commands() {
				visit(sub)
			}
			return
		}
		if !strings.Contains(cmd.Example, "dokkaacfg ") {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if lists := cmd.Name() == "ls" || strings.HasPrefix(cmd.Short, "Show"); lists && cmd.Name() != "logs" && cmd.Name() != "label" && cmd.Flags().Lookup("output") == nil {
			t.Errorf("%s writes nothing for programs", cmd.CommandPath())
		}
	}
	visit(newRoot(newInvocation(nil, nil, nil)))
}

// What users of other tools type does what they mean, and is no other command of ours.
func TestAliases(t *testing.T) {
	root := newRoot(newInvocation(nil, nil, nil))
	for typed, is := range map[string]string{"host list": "host ls", "node ls": "host ls", "delete": "rm", "describe": "inspect", "top": "stats", "secret create": "secret set", "volumes": "volume", "config get": "config cat"} {
		cmd, rest, err := root.Find(strings.Fields(typed))
		if err != nil || len(rest) > 0 || strings.TrimPrefix(cmd.CommandPath(), "dokkaacfg ") != is {
			t.Errorf("%s is %s, %q, %v; want %s", typed, cmd.CommandPath(), rest, err, is)
		}
	}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		taken := map[string]bool{}
		for _, sub := range cmd.Commands() {
			for _, name := range append([]string{sub.Name()}, sub.Aliases...) {
				if taken[name] {
					t.Errorf("%s has two commands %s", cmd.CommandPath(), name)
				}
				taken[name] = true
			}
			visit(sub)
		}
	}
	visit(root)
}
