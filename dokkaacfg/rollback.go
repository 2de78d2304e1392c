package dokkaacfg

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/manifest"
)

type rollbackCommand struct {
	refArg
	To int
	waitingFlags
}

func newRollbackCommand(p *invocation) *cobra.Command {
	c := new(rollbackCommand)
	cmd := &cobra.Command{
		Use: "rollback <app>/<name>", Short: "Put the manifest of an earlier revision again",
		Long: `Put the manifest of an earlier revision again: of the newest before the present one whose instances were all healthy, or of
the one that --to names. It is an update like any other. The scale stays as it is, and secrets and configs are the newest,
unless the manifest names their versions. dokkaacfg inspect shows the revisions.`,
		Example: "dokkaacfg rollback dummy/nginx\ndokkaacfg rollback dummy/nginx --to=3",
		Args:    exactly(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	cmd.Flags().IntVar(&c.To, "to", 0, "`number` of the revision")
	c.waitingFlags.add(cmd)
	c.addCanary(cmd)
	return cmd
}

// Run puts the earlier manifest and waits until it is in force.
func (c *rollbackCommand) Run(ctx context.Context, s *session) error {
	return c.withApp(ctx, s, func(ctx context.Context, keys clusterKeys, ref state.Ref, app *appKeys) error {
		n, err := app.revisionBefore(c.To)
		if err != nil {
			return fmt.Errorf("roll back %s: %w", ref, err)
		}
		text, err := app.manifestOf(n)
		if err != nil {
			return fmt.Errorf("roll back %s: %w", ref, err)
		}
		w := wish{ref: ref, text: text}
		if w.manifest, err = manifest.ParseFor(ref.App, ref.Name, text); err != nil {
			return fmt.Errorf("roll back %s: revision %d: %w", ref, n, err)
		}
		a := planApply(w, app)
		fmt.Fprintf(s.out, "%s: the manifest of revision %d again: %s\n", ref, n, strings.Join(a.plan, "; "))
		for _, change := range a.changes {
			fmt.Fprintln(s.out, "  "+oneLine(change.String()))
		}
		if a.write {
			if err := putManifest(ctx, keys, ref, string(text), a.prev); err != nil {
				return err
			}
		}
		return c.wait(ctx, s, keys, []state.Ref{ref})
	})
}

// revisionBefore is the revision to go back to: the given one, or for 0 the newest healthy one that
// is not what the manifest asks for now.
func (a *appKeys) revisionBefore(wanted int) (int, error) {
	numbers := slices.Sorted(maps.Keys(a.revisions))
	if wanted != 0 {
		if !slices.Contains(numbers, wanted) {
			return 0, fmt.Errorf("there is no revision %d; there are %s", wanted, a.revisionsText())
		}
		return wanted, nil
	}
	present := ""
	if m := a.parsedManifest(); m != nil {
		present = m.RevisionHash(manifest.Versions{})
	}
	for _, n := range slices.Backward(numbers) {
		r := a.revisions[n]
		m, err := manifest.Parse(r.Manifest)
		if err == nil && r.Verdict == state.VerdictHealthy && m.RevisionHash(manifest.Versions{}) != present {
			return n, nil
		}
	}
	return 0, fmt.Errorf("no other revision was healthy; there are %s. --to names one", a.revisionsText())
}

// revisionsText lists the revisions with their verdicts.
func (a *appKeys) revisionsText() string {
	var all []string
	for _, n := range slices.Sorted(maps.Keys(a.revisions)) {
		text := fmt.Sprint(n)
		if verdict := a.revisions[n].Verdict; verdict != "" {
			text += " (" + string(verdict) + ")"
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// manifestOf is the manifest of a revision, without what is so by default, and with the scale of the
// present one.
func (a *appKeys) manifestOf(n int) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(a.revisions[n].Manifest, &fields); err != nil {
		return nil, fmt.Errorf("revision %d cannot be read: %w", n, err)
	}
	m, err := manifest.Parse(a.revisions[n].Manifest)
	if err != nil {
		return nil, fmt.Errorf("revision %d cannot be read: %w", n, err)
	}
	if present := a.parsedManifest(); present != nil && present.Mode == manifest.Replicated && m.Mode == manifest.Replicated {
		fields["scale"] = json.RawMessage(fmt.Sprint(present.Scale))
	}
	plain, err := manifest.Parse([]byte(`{"image": "any"}`))
	if err != nil {
		return nil, err
	}
	var defaults map[string]json.RawMessage
	if err := json.Unmarshal([]byte(asJSON(plain)), &defaults); err != nil {
		return nil, err
	}
	for name, value := range defaults {
		if name != "image" && bytes.Equal(fields[name], value) {
			delete(fields, name)
		}
	}
	return json.Marshal(fields)
}
