package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

type statusCommand struct{ output }

func newStatusCommand(p *invocation) *cobra.Command {
	c := new(statusCommand)
	cmd := &cobra.Command{
		Use: "status", Short: "Show the hosts, and each container: where it runs, or why not",
		Example: "dokkaacfg status\ndokkaacfg status -o json | jq -r '.hosts[].ip'",
		Args:    exactly(), RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// Run shows the cluster.
func (c *statusCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		r, err := s.report(ctx, keys)
		if err != nil {
			return err
		}
		hosts, err := s.provider.hosts(ctx)
		if err != nil {
			return err
		}
		r.Trouble = s.trouble(ctx, hosts)
		return c.write(s.out, r, func() string { return r.text(time.Now()) })
	})
}

// report is what status shows.
type report struct {
	Cluster    string            `json:"cluster"`
	Scheduler  schedulerReport   `json:"scheduler"`
	Hosts      []hostReport      `json:"hosts"`
	Containers []containerReport `json:"containers"`
	Volumes    []volumeReport    `json:"volumes,omitempty"`
	Trouble    []string          `json:"trouble,omitempty"` // what the keys do not tell of
}

// schedulerReport is which host schedules, or why none does.
type schedulerReport struct {
	Host   string `json:"host,omitempty"`
	Reason string `json:"reason,omitempty"`
}

type containerReport struct {
	state.Ref
	state.Status
}

// report reads the keys by which the cluster shows how it is.
func (s *session) report(ctx context.Context, keys clusterKeys) (report, error) {
	all, err := readInventory(ctx, keys)
	if err != nil {
		return report{}, err
	}
	scheduler, err := readScheduler(keys.Get(ctx, state.SchedulerKey))
	if err != nil {
		return report{}, err
	}
	return report{Cluster: s.cluster, Scheduler: scheduler,
		Hosts: all.hostReports(), Containers: all.containerReports(), Volumes: all.volumeReports()}, nil
}

// readScheduler tells of the scheduler's lease. An error is one that says nothing about it.
func readScheduler(lease store.Node, err error) (schedulerReport, error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return schedulerReport{Reason: "no host schedules now"}, nil
	case errors.Is(err, store.ErrNotFile):
		return schedulerReport{Reason: "no host schedules: " + state.SchedulerKey + " is a directory"}, nil
	case err != nil:
		return schedulerReport{}, err
	case lease.TTL == 0:
		return schedulerReport{Reason: "no host schedules: " + state.SchedulerKey + " was written by hand, the conductors remove it in a moment"}, nil
	}
	host, _, _ := strings.Cut(lease.Value, " ")
	return schedulerReport{Host: host}, nil
}

// containerReports tell of every container that has a manifest or a status.
func (i inventory) containerReports() []containerReport {
	var reports []containerReport
	for _, ref := range slices.SortedFunc(maps.Keys(i.apps), compareRefs) {
		keys := i.apps[ref]
		status := state.Status{}
		switch {
		case keys.status != nil:
			status = *keys.status
		case keys.manifest != nil:
			status.State = "new: the scheduler has not written its status yet"
		case !keys.isDir:
			continue
		}
		if keys.isDir {
			status.State = cmp.Or(status.State, "refused")
			status.Errors = append(status.Errors, ref.ManifestKey()+" is a directory, not a key")
		}
		reports = append(reports, containerReport{ref, status})
	}
	return reports
}

func compareRefs(a, b state.Ref) int {
	return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
}

// joinText puts what there is to say into one line.
func joinText(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, one)
	}
	return fmt.Sprintf("%d %s", n, many)
}
