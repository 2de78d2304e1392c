package dokkaacfg

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

func newVolumeCommand(p *invocation) *cobra.Command {
	return group("volume", "Look after volumes", newVolumeLsCommand(p), newVolumeRmCommand(p))
}

type volumeLsCommand struct {
	output
	Of string // the app or the container whose volumes are shown, "" for all
}

func newVolumeLsCommand(p *invocation) *cobra.Command {
	c := new(volumeLsCommand)
	cmd := &cobra.Command{
		Use: "ls [<app>[/<name>]]", Short: "Show which volumes there are, and who uses them",
		Example: "dokkaacfg volume ls\ndokkaacfg volume ls dummy/db -o json",
		Args:    atMost(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// Run shows the volumes.
func (c *volumeLsCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		volumes := slices.DeleteFunc(all.volumeReports(), func(v volumeReport) bool { return !v.of(c.Of) })
		return c.write(s.out, volumes, func() string { return volumesText(volumes) })
	})
}

// volumeReport is what is known of a volume on a host.
type volumeReport struct {
	Host       string `json:"host"`
	HostState  string `json:"host_state"`
	DockerName string `json:"docker_name"`
	state.Volume
	UsedBy  []string       `json:"used_by,omitempty"` // slots that are assigned to the host: "dummy/db 1"
	Removal *state.Removal `json:"removal,omitempty"` // the request to remove it, with what was said to it
}

// of tells whether the volume is of an app, or of a container, or of any for "".
func (v volumeReport) of(what string) bool {
	return what == "" || what == v.App || what == v.Ref.String()
}

// volumeReports tell of all volumes, by container, then host.
func (i inventory) volumeReports() []volumeReport {
	var all []volumeReport
	for _, ip := range i.addresses() {
		h := i.hosts[ip]
		for _, name := range slices.Sorted(maps.Keys(h.volumes)) {
			v := volumeReport{Host: ip, DockerName: name, Volume: h.volumes[name], UsedBy: i.usersOf(ip, h.volumes[name])}
			v.HostState, _ = h.state()
			if said, asked := h.removals[name]; asked {
				v.Removal = &said
			}
			all = append(all, v)
		}
	}
	slices.SortStableFunc(all, func(a, b volumeReport) int {
		return cmp.Or(compareRefs(a.Ref, b.Ref), cmp.Compare(a.Slot, b.Slot))
	})
	return all
}

// usersOf are the slots that have, or are about to have, the volume mounted on the host.
func (i inventory) usersOf(ip string, v state.Volume) []string {
	app := i.apps[v.Ref]
	if app == nil {
		return nil
	}
	var users []string
	for _, n := range slices.Sorted(maps.Keys(app.slots)) {
		if (v.Slot == 0 || v.Slot == n) && isOn(app.slots[n], ip) {
			users = append(users, fmt.Sprintf("%s %d", v.Ref, n))
		}
	}
	return users
}

// isOn tells whether the slot has an instance on the host, or is about to.
func isOn(slot state.Slot, ip string) bool {
	return slot.Current != nil && slot.Current.Host == ip || slot.Next != nil && slot.Next.Host == ip
}

func volumesText(volumes []volumeReport) string {
	if len(volumes) == 0 {
		return "No volumes.\n"
	}
	var t table
	t.row("CONTAINER", "SLOT", "VOLUME", "DRIVER", "HOST", "STATE", "NAME IN DOCKER", "USED BY", "REMOVAL")
	for _, v := range volumes {
		slot := "all"
		if v.Slot > 0 {
			slot = fmt.Sprint(v.Slot)
		}
		removal := ""
		if v.Removal != nil {
			removal = joinText("asked for", v.Removal.Reason)
		}
		t.row(v.Ref.String(), slot, v.Volume.Volume, v.Driver, v.Host, v.HostState, v.DockerName, strings.Join(v.UsedBy, ", "), removal)
	}
	return t.String()
}
