package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type applyCommand struct {
	Of     string // the container whose manifest it is, "" if the files say
	Files  []string
	App    string
	DryRun bool
	waitingFlags
}

func newApplyCommand(p *invocation) *cobra.Command {
	c := new(applyCommand)
	cmd := &cobra.Command{
		Use: "apply -f <file> [<app>/<name>]", Short: "Put manifests, and wait until they are in force",
		Long: `Put manifests, show what that changes, and wait until all instances are as they say.

A file <app>/<name>.json holds the manifest of the container <name> of <app>: the directory names the app, unless --app does.
A directory stands for all files <name>.json in it; directories below it are further apps. A file may also hold several
manifests, in an object whose keys are <app>/<name>. With <app>/<name> as an argument, the file is that container's,
whatever its name. All manifests are checked before one is written.

It ends with 1 and the reason when a manifest is wrong, an update failed or an instance will not come up. Applying again
what is in force changes nothing; after a failed update, it is tried again.`,
		Example: `dokkaacfg apply -f dummy/nginx.json
dokkaacfg apply -f examples/nginx-and-crawler --app=dummy
dokkaacfg apply -f dummy --dry-run
dokkaacfg convert compose.yaml | dokkaacfg apply -f -`,
		Args: atMost(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	cmd.Flags().StringArrayVarP(&c.Files, "file", "f", nil, "`file` or directory with manifests, - for what is piped in; may be repeated")
	cmd.Flags().StringVar(&c.App, "app", "", "`app` of all manifests whose files do not say it")
	cmd.Flags().BoolVar(&c.DryRun, "dry-run", false, "show what would change, and change nothing")
	c.waitingFlags.add(cmd)
	c.addCanary(cmd)
	if err := cmd.MarkFlagRequired("file"); err != nil {
		panic(err) // the flag was added just now
	}
	return cmd
}

// Run writes the manifests that are not in force, and waits for all of them.
func (c *applyCommand) Run(ctx context.Context, s *session) error {
	files := manifestFiles{names: c.Files, app: c.App}
	if c.Of != "" {
		ref, err := parseRef(c.Of)
		if err != nil {
			return err
		}
		files.ref = ref
	}
	wishes, err := files.read(s.in)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := c.plan(ctx, s, keys, wishes)
		if err != nil || c.DryRun {
			return err
		}
		return c.put(ctx, s, keys, all)
	})
}

// plan shows what each manifest changes.
func (c *applyCommand) plan(ctx context.Context, s *session, keys clusterKeys, wishes []wish) ([]applied, error) {
	have, err := readInventory(ctx, keys)
	if err != nil {
		return nil, err
	}
	values := map[string]bool{}
	for _, kind := range []valueKind{secrets, configs} {
		stored, err := kind.list(ctx, keys, kind.dir)
		if err != nil {
			return nil, err
		}
		for of := range stored {
			values[kind.word+" "+of.String()] = true
		}
	}
	colour := newPaint(s.out, os.Getenv)
	var all []applied
	for _, w := range wishes {
		a := planApply(w, have.app(w.ref))
		all = append(all, a)
		for _, plan := range a.plan {
			fmt.Fprintf(s.out, "%s: %s\n", w.ref, plan)
		}
		for _, change := range a.changes {
			fmt.Fprintln(s.out, "  "+colour(change.colour(), oneLine(change.String())))
		}
		for _, warning := range warnings(w, have, wishes, values) {
			fmt.Fprintln(s.out, colour(yellow, "  "+warning))
		}
	}
	return all, nil
}

// put writes the manifests and waits. One that cannot be written does not hinder the others.
func (c *applyCommand) put(ctx context.Context, s *session, keys clusterKeys, all []applied) error {
	var failed []error
	var refs []state.Ref
	for _, a := range all {
		if a.write {
			if err := putManifest(ctx, keys, a.ref, string(a.text), a.prev); err != nil {
				failed = append(failed, err)
				continue
			}
		}
		refs = append(refs, a.ref)
	}
	failed = append(failed, c.wait(ctx, s, keys, refs))
	return errors.Join(failed...)
}

// putManifest writes a manifest if its key is as it was when it was read: prev is its index then, 0
// for none.
func putManifest(ctx context.Context, keys clusterKeys, ref state.Ref, text string, prev uint64) (err error) {
	if prev == 0 {
		_, err = keys.Create(ctx, ref.ManifestKey(), text, 0)
	} else {
		_, err = keys.CompareAndSwap(ctx, ref.ManifestKey(), text, prev)
	}
	switch {
	case isRace(err):
		return fmt.Errorf("somebody else wrote the manifest of %s at the same time; look at it, and do it again", ref)
	case errors.Is(err, store.ErrNotFile):
		return fmt.Errorf("put manifest %s: %s is a directory", ref, ref.ManifestKey())
	case err != nil:
		return fmt.Errorf("put manifest %s: %w", ref, err)
	}
	return nil
}

// sortedRefs are the containers below one name: <app>/<name>, or all of <app>.
func (i inventory) sortedRefs(of string) (refs []state.Ref) {
	for ref := range i.apps {
		if of == "" || of == ref.App || of == ref.String() {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, compareRefs)
	return refs
}
