package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

// refArg is the container that a command is about: app and name.
type refArg struct{ Of string }

// withApp reads the keys of a container that has a manifest, and calls f.
func (a refArg) withApp(ctx context.Context, s *session, f func(context.Context, clusterKeys, state.Ref, *appKeys) error) error {
	ref, err := parseRef(a.Of)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		app, err := readExisting(ctx, keys, ref)
		if err != nil {
			return err
		}
		return f(ctx, keys, ref, app)
	})
}

// foundApp is a container that has a manifest, and its keys.
type foundApp struct {
	ref state.Ref
	*appKeys
}

// withApps reads the keys of several containers, and calls f if each has a manifest.
func (s *session) withApps(ctx context.Context, of []string, f func(context.Context, clusterKeys, []foundApp) error) error {
	var refs []state.Ref
	for _, text := range of {
		ref, err := parseRef(text)
		if err != nil {
			return err
		}
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		var found []foundApp
		var missing []error
		for _, ref := range refs {
			app, err := readExisting(ctx, keys, ref)
			found, missing = append(found, foundApp{ref, app}), append(missing, err)
		}
		if err := errors.Join(missing...); err != nil {
			return err
		}
		return f(ctx, keys, found)
	})
}

// readExisting reads the keys of a container that has a manifest.
func readExisting(ctx context.Context, keys clusterKeys, ref state.Ref) (*appKeys, error) {
	app, err := readApp(ctx, keys, ref)
	if err == nil && app.manifest == nil {
		err = fmt.Errorf("there is no container %s: there is no manifest %s", ref, ref.ManifestKey())
	}
	return app, err
}

type promoteCommand struct {
	refArg
	waitingFlags
}

func newPromoteCommand(p *invocation) *cobra.Command {
	c := new(promoteCommand)
	cmd := &cobra.Command{
		Use: "promote <app>/<name>", Short: "Let an update go on whose canaries are good, and wait for its end",
		Example: "dokkaacfg promote dummy/nginx",
		Args:    exactly(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	c.waitingFlags.add(cmd)
	return cmd
}

// Run writes that the canaries of the update that waits are good.
func (c *promoteCommand) Run(ctx context.Context, s *session) error {
	return c.withApp(ctx, s, func(ctx context.Context, keys clusterKeys, ref state.Ref, app *appKeys) error {
		switch {
		case app.rollout == nil:
			return fmt.Errorf("there is no update of %s that waits", ref)
		case app.rollout.Phase != state.RolloutCanary:
			return fmt.Errorf("the update of %s to revision %d does not wait: it is %s", ref, app.rollout.To, app.rollout.Phase)
		}
		if _, err := keys.Set(ctx, ref.PromoteKey(), strconv.Itoa(app.rollout.To), 0); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "revision %d of %s goes to all instances\n", app.rollout.To, ref)
		return c.wait(ctx, s, keys, []state.Ref{ref})
	})
}
