package dokkaacfg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// docs/cli.md is what the commands say of themselves.
func TestReference(t *testing.T) {
	file := filepath.Join("..", "docs", "cli.md")
	want := reference()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(is) != want {
		t.Errorf("docs/cli.md is not what the commands say: go test ./dokkaacfg -run TestReference -update writes it")
	}
}

const referenceHead = `# The command line

This page is written by ` + "`go test ./dokkaacfg -run TestReference -update`" + ` from what ` + "`dokkaacfg <command> --help`" + ` shows.
What one does with the commands is in [operations.md](operations.md).

A command ends with exit code 0 if it did what it should, with 1 and the reason if not, with 2 for wrong usage. What removes
something says what goes and asks first; ` + "`--yes`" + ` does not ask. ` + "`-o json` and `-o yaml`" + ` write all that is known, for programs.

Completion, for bash (zsh and fish are alike, see ` + "`dokkaacfg completion --help`" + `):

    source <(dokkaacfg completion bash)
`

// reference is the page about all commands.
func reference() string {
	var text strings.Builder
	text.WriteString(referenceHead)
	root := newRoot(newInvocation(nil, nil, nil))
	text.WriteString("\n## With every command\n\n" + flagsTable(root.PersistentFlags()))
	for _, group := range root.Groups() {
		fmt.Fprintf(&text, "\n## %s\n", strings.TrimSuffix(group.Title, ":"))
		for _, cmd := range root.Commands() {
			if cmd.GroupID == group.ID {
				describe(&text, cmd)
			}
		}
	}
	return text.String()
}

// describe writes of a command, or of those that it holds.
func describe(text *strings.Builder, cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		for _, sub := range cmd.Commands() {
			describe(text, sub)
		}
		return
	}
	fmt.Fprintf(text, "\n### %s\n\n", strings.TrimPrefix(cmd.CommandPath(), "dokkaacfg "))
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	fmt.Fprintf(text, "%s\n\n    %s\n", strings.TrimSpace(about), cmd.UseLine())
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(text, "\nAlso known as `%s`.\n", strings.Join(cmd.Aliases, "`, `"))
	}
	if table := flagsTable(cmd.LocalNonPersistentFlags()); table != "" {
		text.WriteString("\n" + table)
	}
	if cmd.Example != "" {
		text.WriteString("\nFor example:\n\n")
		for line := range strings.Lines(cmd.Example) {
			text.WriteString("    " + strings.TrimPrefix(line, "  "))
		}
		text.WriteString("\n")
	}
}

func flagsTable(flags *pflag.FlagSet) string {
	var rows strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		value, about := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" {
			name += " " + value
		}
		byDefault := ""
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
			byDefault = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s |\n", name, byDefault, strings.ReplaceAll(about, "|", "\\|"))
	})
	if rows.Len() == 0 {
		return ""
	}
	return "| flag | default | meaning |\n|---|---|---|\n" + rows.String()
}
