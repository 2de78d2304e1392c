package dokkaacfg

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// output is the form in which a command shows what it found: "" is a table for people, the others
// hold all that is known, for programs.
type output string

const (
	outputJSON output = "json"
	outputYAML output = "yaml"
)

func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().VarP(o, "output", "o", "write all that is known, as json or yaml")
	err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]cobra.Completion{string(outputJSON), string(outputYAML)}, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag was added just now
	}
}

func (o *output) String() string { return string(*o) }

// Type is what the help shows for a value.
func (o *output) Type() string { return "form" }

// Set takes the form that the user wrote.
func (o *output) Set(text string) error {
	switch output(text) {
	case outputJSON, outputYAML:
		*o = output(text)
		return nil
	}
	return fmt.Errorf("it is %s or %s", outputJSON, outputYAML)
}

// write shows value, or the text for people.
func (o *output) write(to io.Writer, value any, text func() string) error {
	switch *o {
	case outputJSON:
		return writeJSON(to, value)
	case outputYAML:
		return writeYAML(to, value)
	}
	_, err := io.WriteString(to, text())
	return err
}

func writeJSON(to io.Writer, value any) error {
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// writeYAML writes what writeJSON would, with the same names in the same order.
func writeYAML(to io.Writer, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var document yaml.Node // JSON is YAML
	if err := yaml.Unmarshal(data, &document); err != nil {
		return fmt.Errorf("write as YAML: %w", err)
	}
	plainStyle(&document)
	encoder := yaml.NewEncoder(to)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return fmt.Errorf("write as YAML: %w", err)
	}
	return encoder.Close()
}

// unquoted is what no reader of YAML, of whatever version, takes for anything but text.
var unquoted = regexp.MustCompile(`^[A-Za-z/]([A-Za-z0-9 _/.@-]*[A-Za-z0-9/])?$|^[0-9]+(\.[0-9]+){3}$`)

// words are what readers of YAML 1.1 take for truth values.
var words = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

// plainStyle takes away JSON's brackets, and its quotes where text is text without them.
func plainStyle(node *yaml.Node) {
	if node.Tag != "!!str" || unquoted.MatchString(node.Value) && !slices.Contains(words, strings.ToLower(node.Value)) {
		node.Style = 0
	}
	for _, child := range node.Content {
		plainStyle(child)
	}
}
