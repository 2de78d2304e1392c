package dokkaacfg

import (
	"context"
	"fmt"
	"strconv"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

type appCommand struct {
	Scale appScaleCommand `cmd:"" help:"Set the number of instances, until the manifest's own is changed."`
}

// refArg is the container that a command is about.
type refArg struct {
	Of string `arg:"" name:"app>/<name" help:"The container: app and name."`
}

// withApp reads the keys of a container that has a manifest, and calls f.
func (a refArg) withApp(ctx context.Context, s *session, f func(context.Context, clusterKeys, state.Ref, *appKeys) error) error {
	ref, err := parseRef(a.Of)
	if err != nil {
		return err
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		app, err := readApp(ctx, keys, ref)
		if err != nil {
			return err
		}
		if app.manifest == nil {
			return fmt.Errorf("there is no container %s: there is no manifest %s", ref, ref.ManifestKey())
		}
		return f(ctx, keys, ref, app)
	})
}

type appScaleCommand struct {
	refArg
	Scale int `arg:"" name:"n" help:"Number of instances; that of the manifest takes the manifest's side again."`
}

// Run overrides the scale of a manifest.
func (c *appScaleCommand) Run(ctx context.Context, s *session) error {
	if c.Scale < 0 || c.Scale > manifest.MaxScale {
		return usageError{fmt.Sprintf("%d: there can be 0 to %d instances", c.Scale, manifest.MaxScale)}
	}
	return c.withApp(ctx, s, func(ctx context.Context, keys clusterKeys, ref state.Ref, app *appKeys) error {
		m := app.parsedManifest()
		switch {
		case m == nil:
			return fmt.Errorf("the manifest of %s is refused; dokkaacfg status says why", ref)
		case m.Mode != manifest.Replicated:
			return fmt.Errorf("%s has mode %s: it has no scale", ref, m.Mode)
		case m.Scale == c.Scale:
			if err := removeKey(ctx, keys.Store, ref.ScaleKey()); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "%s has scale %d, as its manifest says\n", ref, c.Scale)
			return err
		}
		if _, err := keys.Set(ctx, ref.ScaleKey(), asJSON(state.Scale{Scale: c.Scale, Modified: app.manifest.Modified}), 0); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "%s has scale %d now, instead of the manifest's %d, until that is changed\n", ref, c.Scale, m.Scale)
		return err
	})
}

type promoteCommand struct{ refArg }

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
		_, err := fmt.Fprintf(s.out, "revision %d of %s goes to all instances\n", app.rollout.To, ref)
		return err
	})
}
