package dokkaacfg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/dokkaacfg/compose"
	"github.com/dokkaa/dokkaa/manifest"
)

type convertCommand struct {
	File string // the Compose file
	App  string
	Out  string // directory, "" for standard output
}

func newConvertCommand(p *invocation) *cobra.Command {
	c := new(convertCommand)
	cmd := &cobra.Command{
		Use: "convert <compose.yaml>", Short: "Make manifests of a Compose file, and say what they cannot carry",
		Long: `Make manifests of a Compose file, and say on standard error what no manifest can carry and what is to be done by hand. Each
service becomes a container of the app. Services there reach each other by name; here a container reaches what it links to,
at an address that its environment names. Links are made of links, depends_on and of variables that name a service, and
a variable with a service's name and port is given the address. It asks no cluster.`,
		Example: `dokkaacfg convert compose.yaml | dokkaacfg apply -f -
dokkaacfg convert compose.yaml --app=shop --out=manifests && dokkaacfg apply -f manifests`,
		Args: exactly(&c.File),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p.started = true
			return c.convert(cmd)
		},
	}
	cmd.Flags().StringVar(&c.App, "app", "", "`name` of the app; default the project's")
	cmd.Flags().StringVar(&c.Out, "out", "", "`directory` to write <app>/<name>.json to, instead of one object to standard output")
	return cmd
}

// convert writes the manifests, and the notes beside them.
func (c *convertCommand) convert(cmd *cobra.Command) error {
	if c.App != "" {
		if err := manifest.ValidateNames(c.App, "name"); err != nil {
			return usageError{fmt.Sprintf("--app=%s: %v", c.App, err)}
		}
	}
	converted, err := compose.Convert(cmd.Context(), c.File, c.App)
	for _, note := range converted.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), oneLine(note))
	}
	if err != nil {
		return err
	}
	if c.Out == "" {
		return writeJSON(cmd.OutOrStdout(), converted.Bundle())
	}
	dir := filepath.Join(c.Out, converted.App)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(converted.Manifests)) {
		var text bytes.Buffer
		if err := json.Indent(&text, converted.Manifests[name], "", "  "); err != nil {
			return fmt.Errorf("write manifest %s: %w", name, err)
		}
		file := filepath.Join(dir, name+".json")
		if err := os.WriteFile(file, append(text.Bytes(), '\n'), 0o644); err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
		fmt.Fprintln(cmd.OutOrStdout(), file)
	}
	return nil
}
