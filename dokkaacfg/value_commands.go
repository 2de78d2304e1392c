package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/seal"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

func newSecretCommand(p *invocation) *cobra.Command {
	return group("secret", "Look after secrets, which containers find in files",
		newValueSetCommand(p, secrets), newValueLsCommand(p, secrets), newValueRmCommand(p, secrets))
}

func newConfigCommand(p *invocation) *cobra.Command {
	return group("config", "Look after configs, which containers find in files, and explain the manifest",
		newValueSetCommand(p, configs), newValueLsCommand(p, configs), newConfigCatCommand(p), newValueRmCommand(p, configs),
		newConfigExplainCommand(p))
}

type valueSetCommand struct {
	kind valueKind
	Of   string
	File string
}

func newValueSetCommand(p *invocation, kind valueKind) *cobra.Command {
	c := &valueSetCommand{kind: kind}
	cmd := &cobra.Command{
		Use: "set <app>/<name>", Short: fmt.Sprintf("Write a new version of a %s; what uses it is updated", kind.word),
		Long:    fmt.Sprintf("Write a new version of a %s, which the containers of the app may use; those that do are updated.", kind.word),
		Example: fmt.Sprintf("printf %%s \"$VALUE\" | dokkaacfg %[1]s set dummy/name\ndokkaacfg %[1]s set dummy/name --file=name.txt", kind.word),
		Args:    exactly(&c.Of), ValidArgsFunction: cobra.NoFileCompletions, RunE: p.run(c.Run),
	}
	cmd.Flags().StringVar(&c.File, "file", "", "`file` with the value; default: what is piped in")
	return cmd
}

// Run writes a config as it is, and a secret encrypted.
func (c *valueSetCommand) Run(ctx context.Context, s *session) error {
	if c.kind.word == configs.word {
		return c.set(ctx, s, plain)
	}
	key, err := s.readSecretKey()
	if err != nil {
		return err
	}
	return c.set(ctx, s, sealed(key))
}

// encoding is how a value stands in etcd.
type encoding struct {
	write func(text []byte, name string) string
	read  func(stored, name string) (string, error)
}

var plain = encoding{
	write: func(text []byte, _ string) string { return string(text) },
	read:  func(stored, _ string) (string, error) { return stored, nil },
}

func sealed(key seal.Key) encoding {
	return encoding{write: key.Seal, read: func(stored, name string) (string, error) {
		text, err := key.Open(stored, name)
		return string(text), err
	}}
}

func (c *valueSetCommand) set(ctx context.Context, s *session, e encoding) error {
	kind := c.kind
	of, err := kind.parse(c.Of)
	if err != nil {
		return err
	}
	text, err := kind.text(s, c.File)
	if err != nil {
		return err
	}
	name := func(version int) string { return of.String() + "/" + strconv.Itoa(version) }
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		version, written, err := kind.set(ctx, keys, of,
			func(version int) string { return e.write(text, name(version)) },
			func(newest store.Node, version int) bool {
				// One that cannot be read is not the same.
				old, err := e.read(newest.Value, name(version))
				return err == nil && old == string(text)
			})
		if err != nil {
			return fmt.Errorf("set %s %s: %w", kind.word, of, err)
		}
		says := "%s %s is version %d now\n"
		if !written {
			says = "%s %s has this value already, as version %d\n"
		}
		_, err = fmt.Fprintf(s.out, says, kind.word, of, version)
		return err
	})
}

type valueLsCommand struct {
	output
	kind valueKind
	App  string // whose are shown, "" for all
}

func newValueLsCommand(p *invocation, kind valueKind) *cobra.Command {
	c := &valueLsCommand{kind: kind}
	short := fmt.Sprintf("Show which %ss there are, and who uses them", kind.word)
	if kind.word == secrets.word {
		short += "; never what they are"
	}
	cmd := &cobra.Command{
		Use: "ls [<app>]", Short: short,
		Example: fmt.Sprintf("dokkaacfg %[1]s ls\ndokkaacfg %[1]s ls dummy -o json", kind.word),
		Args:    atMost(&c.App), ValidArgsFunction: cobra.NoFileCompletions, RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// Run shows the secrets or configs.
func (c *valueLsCommand) Run(ctx context.Context, s *session) error {
	if strings.Contains(c.App, "/") {
		return usageError{fmt.Sprintf("%q is not the name of an app", c.App)}
	}
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		rows, err := c.kind.rows(ctx, keys, c.App)
		if err != nil {
			return err
		}
		return c.write(s.out, rows, func() string { return c.kind.rowsText(rows) })
	})
}

type configCatCommand struct{ Of string }

func newConfigCatCommand(p *invocation) *cobra.Command {
	c := new(configCatCommand)
	return &cobra.Command{
		Use: "cat <app>/<name>[@<version>]", Short: "Write a config as it is: the newest version, or another",
		Example: "dokkaacfg config cat dummy/site.conf\ndokkaacfg config cat dummy/site.conf@1",
		Args:    exactly(&c.Of), ValidArgsFunction: cobra.NoFileCompletions, RunE: p.run(c.Run),
	}
}

// Run writes the config's value.
func (c *configCatCommand) Run(ctx context.Context, s *session) error {
	text, wanted, pinned := strings.Cut(c.Of, "@")
	of, err := configs.parse(text)
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(wanted)
	if pinned && (err != nil || version < 1) {
		return usageError{fmt.Sprintf("%q is not a version", wanted)}
	}
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		versions, err := configs.find(ctx, keys, of)
		if err != nil {
			return err
		}
		if !pinned {
			version = versions.newest()
		}
		node, there := versions[version]
		if !there {
			return fmt.Errorf("config %s has no version %d, but %v", of, version, versions.numbers())
		}
		_, err = io.WriteString(s.out, node.Value)
		return err
	})
}

// find returns the versions of one that exists.
func (k valueKind) find(ctx context.Context, keys clusterKeys, of state.Ref) (stored, error) {
	all, err := k.list(ctx, keys, k.dir+"/"+of.App)
	if err != nil {
		return nil, err
	}
	if len(all[of]) == 0 {
		return nil, fmt.Errorf("there is no %s %s; dokkaacfg %s ls shows what there is", k.word, of, k.word)
	}
	return all[of], nil
}

type valueRmCommand struct {
	kind  valueKind
	Of    string
	Yes   bool
	Force bool
}

func newValueRmCommand(p *invocation, kind valueKind) *cobra.Command {
	c := &valueRmCommand{kind: kind}
	cmd := &cobra.Command{
		Use: "rm <app>/<name>", Short: fmt.Sprintf("Remove a %s", kind.word),
		Example: fmt.Sprintf("dokkaacfg %s rm dummy/name", kind.word),
		Args:    exactly(&c.Of), ValidArgsFunction: cobra.NoFileCompletions, RunE: p.run(c.Run),
	}
	yesFlag(cmd, &c.Yes)
	cmd.Flags().BoolVar(&c.Force, "force", false, "also if a manifest refers to it")
	return cmd
}

// Run removes all versions of a secret or config.
func (c *valueRmCommand) Run(ctx context.Context, s *session) error {
	kind := c.kind
	of, err := kind.parse(c.Of)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		versions, err := kind.find(ctx, keys, of)
		if err != nil {
			return err
		}
		uses, err := kind.uses(ctx, keys, of.App)
		if err != nil {
			return err
		}
		if err := uses.of(of.Name).removable(kind, of); err != nil && !c.Force {
			return err
		}
		fmt.Fprintf(s.out, "To be removed: %s %s, %s\n", kind.word, of, plural(len(versions), "version", "versions"))
		if !c.Yes {
			if err := s.confirm("its name", of.String()); err != nil {
				return err
			}
		}
		for _, version := range versions.numbers() {
			if err := removeKey(ctx, keys.Store, versions[version].Key); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintln(s.out, "removed")
		return errors.Join(err, keys.DeleteEmptyDir(ctx, kind.dir+"/"+of.String()))
	})
}
