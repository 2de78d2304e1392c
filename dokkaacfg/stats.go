package dokkaacfg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/dokkaa/dokkaa/internal/state"
)

type statsCommand struct {
	output
	Of string // the app or the container whose instances are shown, "" for all
}

func newStatsCommand(p *invocation) *cobra.Command {
	c := new(statsCommand)
	cmd := &cobra.Command{
		Use: "stats [<app>[/<name>]]", Short: "Show what instances use of their hosts",
		Long: `Show what instances use of their hosts: cores, measured for a second; memory, without what is cached of files; and what they
received and sent since they were started.`,
		Example: "dokkaacfg stats dummy\ndokkaacfg stats -o json | jq 'map(.memory) | add'",
		Args:    atMost(&c.Of), ValidArgsFunction: p.completeContainers, RunE: p.run(c.Run),
	}
	c.output.flag(cmd)
	return cmd
}

// instanceUsage is what an instance uses of its host.
type instanceUsage struct {
	state.Ref
	Slot     int    `json:"slot"`
	Host     string `json:"host"`
	Instance string `json:"instance"`
	state.Usage
}

// Run shows what instances use. One that cannot be asked about does not hinder the others.
func (c *statsCommand) Run(ctx context.Context, s *session) error {
	return s.withKeys(ctx, readTimeout, func(ctx context.Context, keys clusterKeys) error {
		all, err := readInventory(ctx, keys)
		if err != nil {
			return err
		}
		if c.Of != "" && len(all.sortedRefs(c.Of)) == 0 {
			return fmt.Errorf("there is nothing of %s; dokkaacfg status shows what there is", c.Of)
		}
		rows := slices.DeleteFunc(all.instanceReports(c.Of), func(r instanceReport) bool { return r.Phase != state.PhaseRunning && r.Phase != state.PhaseHealthy })
		usages, failed := s.readUsages(ctx, rows)
		return errors.Join(append([]error{c.write(s.out, usages, func() string { return usageTable(usages) })}, failed...)...)
	})
}

// readUsages asks about all instances at once, some at a time, and returns what is known by name.
func (s *session) readUsages(ctx context.Context, rows []instanceReport) (usages []instanceUsage, failed []error) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	free := make(chan struct{}, maxAsked)
	usages = []instanceUsage{}
	for _, row := range rows {
		free <- struct{}{}
		asking.Go(func() {
			defer func() { <-free }()
			usage, err := s.readUsage(ctx, row)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
				return
			}
			usages = append(usages, instanceUsage{row.Ref, row.Slot, row.Host, row.Instance, usage})
		})
	}
	asking.Wait()
	slices.SortFunc(usages, func(a, b instanceUsage) int {
		return cmp.Or(compareRefs(a.Ref, b.Ref), cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Instance, b.Instance))
	})
	slices.SortFunc(failed, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return usages, failed
}

func usageTable(usages []instanceUsage) string {
	var t table
	t.row("INSTANCE", "HOST", "CPUS", "MEMORY", "OF", "RECEIVED", "SENT", "PROCESSES")
	for _, u := range usages {
		t.row(fmt.Sprintf("%s %d", u.Ref, u.Slot), u.Host, fmt.Sprintf("%.2f", u.CPUs), sizeText(u.Memory), sizeText(u.MemoryLimit),
			sizeText(u.Received), sizeText(u.Sent), fmt.Sprint(u.Processes))
	}
	return cmp.Or(t.String(), "No instances.\n")
}

// sizeText is a number of bytes as people, and manifests, write it.
func sizeText(bytes int64) string {
	switch {
	case bytes >= 10<<30:
		return fmt.Sprintf("%dg", bytes>>30)
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1fg", float64(bytes)/(1<<30))
	case bytes >= 10<<20:
		return fmt.Sprintf("%dm", bytes>>20)
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1fm", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%dk", bytes>>10)
	}
	return fmt.Sprint(bytes)
}
