package dokkaacfg

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type inspectCommand struct {
	refArg
	output
}

func newInspectCommand(p *invocation) *cobra.Command {
	c := new(inspectCommand)
	cmd := &cobra.Command{
		Use: "inspect <app>/<name>", Short: "Show all that is known of a container: manifest, revisions, slots, instances",
		Example: "dokkaacfg inspect dummy/nginx\ndokkaacfg inspect dummy/nginx -o json | jq .manifest > nginx.json",
		Args:    exactly(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// containerDetails is all that is known of a container.
type containerDetails struct {
	state.Ref
	Manifest  any                `json:"manifest"` // as the user wrote it; text if that is no JSON
	Modified  uint64             `json:"modified"` // index of the manifest's key
	Scale     *state.Scale       `json:"scale,omitempty"`
	Status    *state.Status      `json:"status,omitempty"`
	Rollout   *state.Rollout     `json:"rollout,omitempty"`
	Revisions []numberedRevision `json:"revisions"`
	Slots     map[int]state.Slot `json:"slots,omitempty"`
	Instances []instanceReport   `json:"instances"`
	Runs      []identifiedRun    `json:"runs,omitempty"`
	Volumes   []volumeReport     `json:"volumes,omitempty"`
	Problems  []string           `json:"problems,omitempty"` // keys that cannot be read
}

type numberedRevision struct {
	Number int `json:"revision"`
	state.Revision
}

type identifiedRun struct {
	ID string `json:"id"`
	state.Run
}

// Run shows the container, as YAML if nothing else is asked for.
func (c *inspectCommand) Run(ctx context.Context, s *session) error {
	return c.withApp(ctx, s, func(ctx context.Context, keys clusterKeys, ref state.Ref, _ *appKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		form := cmp.Or(c.output, outputYAML)
		return form.write(s.out, all.details(ref), nil)
	})
}

func (i inventory) details(ref state.Ref) containerDetails {
	app := i.app(ref)
	d := containerDetails{Ref: ref, Scale: app.scale, Status: app.status, Rollout: app.rollout, Slots: app.slots,
		Instances: i.instanceReports(ref.String()), Problems: app.unreadable}
	if app.manifest != nil {
		d.Manifest, d.Modified = app.manifest.Value, app.manifest.Modified
		if text := []byte(app.manifest.Value); json.Valid(text) {
			d.Manifest = json.RawMessage(text)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(app.revisions)) {
		d.Revisions = append(d.Revisions, numberedRevision{n, app.revisions[n]})
	}
	for _, id := range slices.SortedFunc(maps.Keys(app.runs), func(a, b string) int {
		return cmp.Or(app.runs[a].Created.Compare(app.runs[b].Created), cmp.Compare(a, b))
	}) {
		d.Runs = append(d.Runs, identifiedRun{id, app.runs[id]})
	}
	d.Volumes = slices.DeleteFunc(i.volumeReports(), func(v volumeReport) bool { return v.Ref != ref })
	return d
}
