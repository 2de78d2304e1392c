package engine

import (
	"encoding/json"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
)

func TestUsage(t *testing.T) {
	tests := map[string]struct {
		said string
		want state.Usage
	}{
		"half a core of two": {`{"cpu_stats": {"cpu_usage": {"total_usage": 1500000000}, "system_cpu_usage": 12000000000, "online_cpus": 2},
			"precpu_stats": {"cpu_usage": {"total_usage": 1000000000}, "system_cpu_usage": 10000000000, "online_cpus": 2},
			"memory_stats": {"usage": 300, "limit": 1000, "stats": {"inactive_file": 100}}, "pids_stats": {"current": 4},
			"networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 10, "tx_bytes": 20}}}`,
			state.Usage{CPUs: 0.5, Memory: 200, MemoryLimit: 1000, Received: 11, Sent: 22, Processes: 4}},
		"not measured before": {`{"cpu_stats": {"cpu_usage": {"total_usage": 5}, "system_cpu_usage": 10, "online_cpus": 2}}`, state.Usage{}},
		"stopped":             {`{"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}`, state.Usage{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var s stats
			if err := json.Unmarshal([]byte(test.said), &s); err != nil {
				t.Fatal(err)
			}
			if got := s.usage(); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
