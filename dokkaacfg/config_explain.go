package dokkaacfg

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/docs"
	"github.com/dokkaa/dokkaa/dokkaacfg/explain"
)

func newConfigExplainCommand(p *invocation) *cobra.Command {
	var field string
	return &cobra.Command{
		Use: "explain [<field>]", Short: "Explain a field of the manifest, or name all that there are",
		Long: `Explain a field of the manifest: its default, what it means, and whether changing it replaces containers. It may be written
as the errors of a manifest do. Without one, all are named. It asks no cluster.`,
		Example: "dokkaacfg config explain update.max_parallel\ndokkaacfg config explain checks[0].interval\ndokkaacfg config explain volumes",
		Args:    atMost(&field),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return explain.Parse(docs.Manifest).Fields(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(*cobra.Command, []string) error {
			p.started = true
			return explainField(p.out, field)
		},
	}
}

// explainField writes what the manifest's reference says about a field, or which there are.
func explainField(to io.Writer, field string) error {
	reference := explain.Parse(docs.Manifest)
	if field == "" {
		_, err := fmt.Fprintf(to, "A manifest has the fields\n  %s\ndokkaacfg config explain <field> tells of each.\n", strings.Join(reference.Fields(), "\n  "))
		return err
	}
	text, err := reference.Field(field)
	if err != nil {
		return err
	}
	_, err = io.WriteString(to, text)
	return err
}
