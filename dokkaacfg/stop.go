package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

// appsCommand does the same to several containers, and waits for them.
type appsCommand struct {
	Of []string
	waitingFlags
	// change writes what is to be done to one, and says so.
	change func(context.Context, *session, clusterKeys, foundApp) error
}

func newAppsCommand(p *invocation, cmd *cobra.Command, change func(context.Context, *session, clusterKeys, foundApp) error) *cobra.Command {
	c := &appsCommand{change: change}
	cmd.Use += " <app>/<name>..."
	cmd.Args, cmd.ValidArgsFunction, cmd.RunE = oneOrMore(&c.Of), p.completeContainers, p.run(c.Run)
	c.waitingFlags.add(cmd)
	c.addCanary(cmd)
	return cmd
}

// Run changes the containers and waits. One that cannot be changed does not hinder the others.
func (c *appsCommand) Run(ctx context.Context, s *session) error {
	return s.withApps(ctx, c.Of, func(ctx context.Context, keys clusterKeys, apps []foundApp) error {
		var failed []error
		var refs []state.Ref
		for _, app := range apps {
			if err := c.change(ctx, s, keys, app); err != nil {
				failed = append(failed, err)
				continue
			}
			refs = append(refs, app.ref)
		}
		failed = append(failed, c.wait(ctx, s, keys, refs))
		return errors.Join(failed...)
	})
}

func newStopCommand(p *invocation) *cobra.Command {
	return newAppsCommand(p, &cobra.Command{
		Use: "stop", Short: "Stop all instances of containers, and keep their manifests",
		Long:    "Stop all instances of containers, and keep their manifests: their scale is 0 until dokkaacfg start, or a manifest with another scale.",
		Example: "dokkaacfg stop dummy/nginx\ndokkaacfg start dummy/nginx",
	}, func(ctx context.Context, s *session, keys clusterKeys, app foundApp) error {
		return scaleChange{app.ref, 0}.write(ctx, s, keys)
	})
}

func newStartCommand(p *invocation) *cobra.Command {
	return newAppsCommand(p, &cobra.Command{
		Use: "start", Short: "Start containers that were stopped, with the scale of their manifests",
		Example: "dokkaacfg start dummy/nginx",
	}, func(ctx context.Context, s *session, keys clusterKeys, app foundApp) error {
		switch m := app.parsedManifest(); {
		case m == nil:
			return fmt.Errorf("the manifest of %s is refused; dokkaacfg status says why", app.ref)
		case m.Mode != manifest.Replicated || app.scale != nil && app.scale.Scale > 0:
			_, err := fmt.Fprintf(s.out, "%s was not stopped\n", app.ref)
			return err
		case m.Scale == 0:
			return fmt.Errorf("the manifest of %s has scale 0; dokkaacfg scale %s=1 starts an instance", app.ref, app.ref)
		default:
			return scaleChange{app.ref, m.Scale}.write(ctx, s, keys)
		}
	})
}

func newRestartCommand(p *invocation) *cobra.Command {
	return newAppsCommand(p, &cobra.Command{
		Use: "restart", Short: "Replace all instances of containers, as an update does",
		Long: `Replace all instances of containers by new ones of the same manifest, as an update does: new before old, so many at a time
as the manifest says, and back again if that fails. A job runs again.`,
		Example: "dokkaacfg restart dummy/nginx",
	}, func(ctx context.Context, s *session, keys clusterKeys, app foundApp) error {
		if app.parsedManifest() == nil {
			return fmt.Errorf("the manifest of %s is refused; dokkaacfg status says why", app.ref)
		}
		err := modify(ctx, keys.Store, app.ref.RestartKey(), func(old string) (string, error) {
			return strconv.Itoa(state.ParseRestart(old) + 1), nil
		})
		if err != nil {
			return fmt.Errorf("restart %s: %w", app.ref, err)
		}
		_, err = fmt.Fprintf(s.out, "%s is restarted\n", app.ref)
		return err
	})
}
