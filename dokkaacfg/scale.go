package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

type scaleCommand struct {
	Changes []string
	Remove  []string // hosts
	Images  string
	Yes     bool
	waitingFlags
}

func newScaleCommand(p *invocation) *cobra.Command {
	c := new(scaleCommand)
	cmd := &cobra.Command{
		Use: "scale (<hosts> | <app>/<name>=<n>...)", Short: "Set the number of hosts; or of instances, until the manifest's own is changed",
		Long: `With a number: add hosts, as up --scale does, or take some away. A host that goes is drained first; what cannot move is
said before anything is done. Interrupted, the same command goes on, and with the old number it takes the hosts back.

Else: set the number of instances of containers, beside the manifest, which stays as it is, and wait until they are there.
It holds until a manifest comes whose own scale is another. With the manifest's number it is undone.`,
		Example: "dokkaacfg scale 4\ndokkaacfg scale 3 --remove=10.101.0.2\ndokkaacfg scale dummy/nginx=3\ndokkaacfg scale dummy/nginx=3 dummy/crawler=0",
		Args:    oneOrMore(&c.Changes), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	c.waitingFlags.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&c.Remove, "remove", nil, "`host` that goes, by its address or name; may be repeated; default those that came last")
	imagesFlags(cmd, &c.Images, &p.Registry)
	yesFlag(cmd, &c.Yes)
	givenFlags(cmd, &p.Given)
	digitalOceanFlags(cmd, &p.DigitalOcean, &p.Doors.web)
	return cmd
}

// scaleChange is the wish for a number of instances.
type scaleChange struct {
	ref   state.Ref
	scale int
}

func parseScaleChange(text string) (c scaleChange, err error) {
	of, number, found := strings.Cut(text, "=")
	if !found {
		return c, usageError{fmt.Sprintf("%q does not have the form <app>/<name>=<n>", text)}
	}
	if c.ref, err = parseRef(of); err != nil {
		return c, err
	}
	if c.scale, err = strconv.Atoi(number); err != nil || c.scale < 0 || c.scale > manifest.MaxScale {
		return c, usageError{fmt.Sprintf("%q: there can be 0 to %d instances", text, manifest.MaxScale)}
	}
	return c, nil
}

// Run sets the number of hosts, or overrides the scale of manifests. A manifest that cannot be does not hinder the others.
func (c *scaleCommand) Run(ctx context.Context, s *session) error {
	if hosts, err := strconv.Atoi(c.Changes[0]); err == nil && len(c.Changes) == 1 {
		return c.scaleHosts(ctx, s, hosts)
	}
	var changes []scaleChange
	for _, text := range c.Changes {
		change, err := parseScaleChange(text)
		if err != nil {
			return err
		}
		changes = append(changes, change)
	}
	return s.withKeys(ctx, writeTimeout, func(ctx context.Context, keys clusterKeys) error {
		var failed []error
		var refs []state.Ref
		for _, change := range changes {
			if err := change.write(ctx, s, keys); err != nil {
				failed = append(failed, err)
				continue
			}
			refs = append(refs, change.ref)
		}
		failed = append(failed, c.wait(ctx, s, keys, refs))
		return errors.Join(failed...)
	})
}

// write sets or removes the key that overrides the manifest's scale.
func (c scaleChange) write(ctx context.Context, s *session, keys clusterKeys) error {
	app, err := readExisting(ctx, keys, c.ref)
	if err != nil {
		return err
	}
	m := app.parsedManifest()
	switch {
	case m == nil:
		return fmt.Errorf("the manifest of %s is refused; dokkaacfg status says why", c.ref)
	case m.Mode != manifest.Replicated:
		return fmt.Errorf("%s has mode %s: it has no scale", c.ref, m.Mode)
	case m.Scale == c.scale:
		if err := removeKey(ctx, keys.Store, c.ref.ScaleKey()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.out, "%s has scale %d, as its manifest says\n", c.ref, c.scale)
		return err
	}
	if _, err := keys.Set(ctx, c.ref.ScaleKey(), asJSON(state.Scale{Scale: c.scale, Modified: app.manifest.Modified}), 0); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s has scale %d now, instead of the manifest's %d, until that is changed\n", c.ref, c.scale, m.Scale)
	return err
}
