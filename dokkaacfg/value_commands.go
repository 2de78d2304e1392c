package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/dokkaa/dokkaa/internal/seal"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type secretCommand struct {
	Set secretSetCommand `cmd:"" help:"Write a new version of a secret; what uses it is updated."`
	Ls  secretLsCommand  `cmd:"" help:"Show which secrets there are, and who uses them; never what they are."`
	Rm  secretRmCommand  `cmd:"" help:"Remove a secret."`
}

type configCommand struct {
	Set configSetCommand `cmd:"" help:"Write a new version of a config; what uses it is updated."`
	Ls  configLsCommand  `cmd:"" help:"Show which configs there are, and who uses them."`
	Cat configCatCommand `cmd:"" help:"Write a config as it is."`
	Rm  configRmCommand  `cmd:"" help:"Remove a config."`
}

type valueArg struct {
	Of string `arg:"" name:"app>/<name" help:"App and name; the containers of the app may use it."`
}

type valueSetFlags struct {
	valueArg
	File string `help:"File with the value; default: what is piped in." type:"path"`
}

type secretSetCommand struct{ valueSetFlags }

// Run writes a secret, encrypted.
func (c *secretSetCommand) Run(ctx context.Context, s *session) error {
	key, err := s.readSecretKey()
	if err != nil {
		return err
	}
	return c.set(ctx, s, secrets, sealed(key))
}

type configSetCommand struct{ valueSetFlags }

// Run writes a config as it is.
func (c *configSetCommand) Run(ctx context.Context, s *session) error {
	return c.set(ctx, s, configs, plain)
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

func (c *valueSetFlags) set(ctx context.Context, s *session, kind valueKind, e encoding) error {
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

type valueLsFlags struct {
	App  string `arg:"" optional:"" help:"Only those of an app."`
	JSON bool   `name:"json" help:"Write JSON."`
}

type secretLsCommand struct{ valueLsFlags }

// Run shows the secrets.
func (c *secretLsCommand) Run(ctx context.Context, s *session) error { return c.ls(ctx, s, secrets) }

type configLsCommand struct{ valueLsFlags }

// Run shows the configs.
func (c *configLsCommand) Run(ctx context.Context, s *session) error { return c.ls(ctx, s, configs) }

func (c *valueLsFlags) ls(ctx context.Context, s *session, kind valueKind) error {
	if strings.Contains(c.App, "/") {
		return usageError{fmt.Sprintf("%q is not the name of an app", c.App)}
	}
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		rows, err := kind.rows(ctx, keys, c.App)
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(s.out, rows)
		}
		_, err = io.WriteString(s.out, kind.rowsText(rows))
		return err
	})
}

type configCatCommand struct {
	Of string `arg:"" name:"app>/<name" help:"App and name, and @<version> if not the newest is wanted."`
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

type valueRmFlags struct {
	valueArg
	Yes   bool `help:"Do not ask."`
	Force bool `help:"Also if a manifest refers to it."`
}

type secretRmCommand struct{ valueRmFlags }

// Run removes a secret.
func (c *secretRmCommand) Run(ctx context.Context, s *session) error { return c.rm(ctx, s, secrets) }

type configRmCommand struct{ valueRmFlags }

// Run removes a config.
func (c *configRmCommand) Run(ctx context.Context, s *session) error { return c.rm(ctx, s, configs) }

func (c *valueRmFlags) rm(ctx context.Context, s *session, kind valueKind) error {
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
