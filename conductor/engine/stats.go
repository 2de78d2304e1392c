package engine

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// statsTimeout is more than the second that Docker measures for.
const statsTimeout = 5 * time.Second

// stats is what Docker says of a container's use of the host: now, and a second before.
type stats struct {
	CPU      cpuStats `json:"cpu_stats"`
	Previous cpuStats `json:"precpu_stats"`
	Memory   struct {
		Usage int64 `json:"usage"`
		Limit int64 `json:"limit"` // the host's memory, if it has none of its own
		Stats struct {
			InactiveFile      int64 `json:"inactive_file"`       // control groups, version 2
			TotalInactiveFile int64 `json:"total_inactive_file"` // and 1
		} `json:"stats"`
	} `json:"memory_stats"`
	Networks map[string]struct {
		Received int64 `json:"rx_bytes"`
		Sent     int64 `json:"tx_bytes"`
	} `json:"networks"`
	Processes struct {
		Current int `json:"current"`
	} `json:"pids_stats"`
}

type cpuStats struct {
	Usage struct {
		Total uint64 `json:"total_usage"` // nanoseconds
	} `json:"cpu_usage"`
	System uint64  `json:"system_cpu_usage"` // of all of the host's cores
	Cores  float64 `json:"online_cpus"`
}

// Usage measures for a second what a container uses of its host.
func (e *Engine) Usage(ctx context.Context, id string) (state.Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	var s stats
	if err := e.Docker.Get(ctx, "/containers/"+url.PathEscape(id)+"/stats", url.Values{"stream": {"false"}}, &s); err != nil {
		return state.Usage{}, fmt.Errorf("measure container: %w", err)
	}
	return s.usage(), nil
}

// usage is what people want to know of it.
func (s stats) usage() state.Usage {
	u := state.Usage{MemoryLimit: s.Memory.Limit, Processes: s.Processes.Current,
		// What is cached of files goes when somebody needs the memory.
		Memory: max(0, s.Memory.Usage-max(s.Memory.Stats.InactiveFile, s.Memory.Stats.TotalInactiveFile))}
	if s.CPU.System > s.Previous.System && s.CPU.Usage.Total > s.Previous.Usage.Total && s.Previous.System > 0 {
		u.CPUs = float64(s.CPU.Usage.Total-s.Previous.Usage.Total) / float64(s.CPU.System-s.Previous.System) * s.CPU.Cores
	}
	for _, n := range s.Networks {
		u.Received += n.Received
		u.Sent += n.Sent
	}
	return u
}
