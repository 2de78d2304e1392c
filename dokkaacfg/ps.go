package dokkaacfg

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type psCommand struct {
	output
	Of string // the app or the container whose instances are shown, "" for all
}

func newPsCommand(p *invocation) *cobra.Command {
	c := new(psCommand)
	cmd := &cobra.Command{
		Use: "ps [<app>[/<name>]]", Short: "Show the instances: where each is, how, and since when",
		Long: `Show the instances: where each is, how it is and since when, as the hosts say. That is also what an update starts beside what
there is, and what is on its way out.`,
		Example: "dokkaacfg ps dummy\ndokkaacfg ps -o json | jq -r '.[] | select(.phase != \"healthy\") | .reason'",
		Args:    atMost(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// Run shows the instances.
func (c *psCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		rows := all.instanceReports(c.Of)
		if len(rows) == 0 && c.Of != "" && len(all.sortedRefs(c.Of)) == 0 {
			return fmt.Errorf("there is nothing of %s; dokkaacfg status shows what there is", c.Of)
		}
		return c.write(s.out, rows, func() string { return instancesTable(rows, time.Now()) })
	})
}

// instanceReport is what is known of an instance.
type instanceReport struct {
	Host     string `json:"host"`
	Instance string `json:"instance"`
	Role     string `json:"role"` // current, next or outgoing
	state.Observed
}

// Roles of an instance. One that no slot names any more is on its way out.
const (
	roleCurrent  = "current"
	roleNext     = "next"
	roleOutgoing = "outgoing"
)

// instanceReports tell of the instances of an app, or of a container, or of all for "": of those
// that slots name, and of those that hosts still have.
func (i inventory) instanceReports(of string) []instanceReport {
	rows := []instanceReport{}
	named := map[string]bool{}
	for _, ref := range i.sortedRefs(of) {
		slots := i.apps[ref].slots
		for _, n := range slices.Sorted(maps.Keys(slots)) {
			for role, a := range map[string]*state.Assignment{roleCurrent: slots[n].Current, roleNext: slots[n].Next} {
				if a != nil {
					named[a.Instance] = true
					rows = append(rows, i.instanceReport(ref, n, role, *a))
				}
			}
		}
	}
	for ip, h := range i.hosts {
		for id, o := range h.instances {
			if !named[id] && (of == "" || of == o.App || of == o.Ref.String()) {
				rows = append(rows, instanceReport{Host: ip, Instance: id, Role: roleOutgoing, Observed: o})
			}
		}
	}
	slices.SortFunc(rows, func(a, b instanceReport) int {
		return cmp.Or(compareRefs(a.Ref, b.Ref), cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Instance, b.Instance))
	})
	return rows
}

// instanceReport is about an instance that a slot names.
func (i inventory) instanceReport(ref state.Ref, slot int, role string, a state.Assignment) instanceReport {
	r := instanceReport{Host: a.Host, Instance: a.Instance, Role: role,
		Observed: state.Observed{Ref: ref, Slot: slot, Revision: a.Revision, Reason: "its host has not taken it up yet"}}
	h := i.hosts[a.Host]
	if h == nil {
		r.Reason = "nothing is known of its host"
		return r
	}
	if o, seen := h.instances[a.Instance]; seen {
		r.Observed = o
		r.Ref, r.Slot, r.Revision = ref, slot, a.Revision // also if the host's word cannot be read
	}
	if h.lost() {
		r.Reason = joinText("its host is lost, this is how it was", r.Reason)
	}
	return r
}

func instancesTable(rows []instanceReport, now time.Time) string {
	var t table
	t.row("INSTANCE", "HOST", "PHASE", "FOR", "REVISION", "RESTARTS", "PORTS", "ID", "WHY")
	for _, r := range rows {
		name := fmt.Sprintf("%s %d", r.Ref, r.Slot)
		if r.Role != roleCurrent {
			name += " (" + r.Role + ")"
		}
		since, restarts := "-", ""
		if !r.Since.IsZero() {
			since = age(now.Sub(r.Since))
		}
		if r.Restarts > 0 {
			restarts = strconv.Itoa(r.Restarts)
		}
		t.row(name, r.Host, cmp.Or(string(r.Phase), "-"), since, orDash(r.Revision), restarts, portsText(r.Ports), r.Instance, r.Reason)
	}
	return cmp.Or(t.String(), "No instances.\n")
}

// portsText is where on the host the services are.
func portsText(ports map[string]int) string {
	var all []string
	for _, service := range slices.Sorted(maps.Keys(ports)) {
		all = append(all, fmt.Sprintf("%s=%d", service, ports[service]))
	}
	return strings.Join(all, ",")
}

// age is a duration in its greatest unit, as people say it.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
