package dokkaacfg

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

var update = flag.Bool("update", false, "write the golden files")

// clusterNodes is a cluster with one of everything that status has to tell.
func clusterNodes() (hosts, apps []store.Node) {
	hosts = []store.Node{
		{Key: "/hosts/10.101.0.1/lease", Value: `{"ip": "10.101.0.1", "version": "v1.0.0", "news": 1}`, TTL: time.Second},
		{Key: "/hosts/10.101.0.1/instances/a1", Value: `{}`},
		{Key: "/hosts/10.101.0.2/lease", Value: `{"ip": "10.101.0.2", "version": "v1.0.0", "condition": "Docker does not answer"}`, TTL: time.Second},
		{Key: "/hosts/10.101.0.10/instances/b1", Value: `{}`},
		{Key: "/hosts/10.101.0.2/info", Value: `{"version": "v0.9.0"}`},
		{Key: "/hosts/10.101.0.10/info", Value: `{"version": "v0.9.0"}`},
		{Key: "/hosts/10.101.0.10/something/else", Value: `x`},
	}
	apps = []store.Node{
		{Key: "/apps/dummy/fresh/manifest", Value: `{}`},
		{Key: "/apps/dummy/nginx/manifest", Value: `{}`},
		{Key: "/apps/dummy/nginx/status", Value: `{"wanted": 3, "running": 2, "healthy": 1, "revision": 2, "state": "updating",
			"slots": [
				{"slot": 1, "host": "10.101.0.1", "revision": 2, "phase": "healthy"},
				{"slot": 2, "host": "10.101.0.10", "revision": 1, "phase": "running", "reason": "port 80 refuses", "next": "revision 2 on 10.101.0.1: pulling"},
				{"slot": 3, "phase": "failed", "reason": "no suitable host (3: memory)"}]}`},
		{Key: "/apps/dummy/typo/manifest", Value: `{}`},
		{Key: "/apps/dummy/typo/status", Value: `{"wanted": 0, "state": "refused", "errors": ["scael: unknown field", "image: required"]}`},
	}
	return hosts, apps
}

var testNow = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// troubledNodes is a cluster in which much is going on.
func troubledNodes() (hosts, apps []store.Node) {
	lease := func(ip, more string) store.Node {
		return store.Node{Key: "/hosts/" + ip + "/lease", TTL: time.Second,
			Value: `{"version": "v1.0.0", "arch": "amd64", "cpus": 4, "memory": 8589934592` + more + `}`}
	}
	hosts = []store.Node{
		lease("10.101.0.1", `, "labels": {"zone": "a", "disk": "hdd"}`),
		{Key: "/hosts/10.101.0.1/labels", Value: `{"disk": "ssd"}`},
		{Key: "/hosts/10.101.0.2/availability", Value: "drain"},
		{Key: "/hosts/10.101.0.2/instances/a1", Value: `{}`},
		lease("10.101.0.2", ""),
		{Key: "/hosts/10.101.0.3/availability", Value: "drain"},
		lease("10.101.0.3", `, "condition": "disk is full"`),
		{Key: "/hosts/10.101.0.4/availability", Value: "cordon"},
		lease("10.101.0.4", ""),
		{Key: "/hosts/10.101.0.4/volumes/dummy---shared---files", Value: `{"app": "dummy", "name": "shared", "volume": "files", "driver": "local"}`},
		{Key: "/hosts/10.101.0.4/removals/dummy---shared---files", Value: `{"reason": "container dummy---shared uses it"}`},
		{Key: "/hosts/10.101.0.5/availability", Value: "cordon"},
		{Key: "/hosts/10.101.0.5/volumes/dummy---db---data", Value: `{"app": "dummy", "name": "db", "slot": 1, "volume": "data", "driver": "local"}`},
		{Key: "/hosts/10.101.0.5/volumes/dummy---db---2---data", Value: `{"app": "dummy", "name": "db", "slot": 2, "volume": "data", "driver": "local"}`},
		{Key: "/hosts/10.101.0.6/availability", Value: "holiday"},
		lease("10.101.0.6", ""),
	}
	apps = []store.Node{
		{Key: "/apps/dummy/backup/status", Value: `{"wanted": 1, "state": "failed", "run": "run 20260102t150000z: failed, exit code 2"}`},
		{Key: "/apps/dummy/canary/status", Value: `{"wanted": 3, "running": 3, "healthy": 3, "revision": 2, "state": "updating",
			"rollout": {"from": 1, "to": 2, "phase": "canary", "since": "2026-01-02T15:02:00Z", "updated": 1}}`},
		{Key: "/apps/dummy/db/hosts/1", Value: `{"current": {"host": "10.101.0.5", "revision": 1, "instance": "i1"}}`},
		{Key: "/apps/dummy/db/status", Value: `{"wanted": 1, "revision": 1, "state": "pending",
			"slots": [{"slot": 1, "host": "10.101.0.5", "revision": 1, "phase": "failed", "reason": "its volume data is on host 10.101.0.5, which is lost"}]}`},
		{Key: "/apps/dummy/first/status", Value: `{"wanted": 2, "running": 1, "revision": 2, "state": "updating",
			"rollout": {"from": 1, "to": 2, "phase": "updating", "since": "2026-01-02T15:04:00Z"},
			"waiting": ["1: waits for its turn", "4: no suitable host (3: memory, 1: constraint host.labels.zone == b)"],
			"slots": [{"slot": 1, "host": "10.101.0.1", "revision": 1, "phase": "failed", "reason": "ended", "restarts": 4, "exit_code": 1,
				"log": ["panic: no database", "", "goroutine 1 [running]:"]}]}`},
		{Key: "/apps/dummy/nginx/status", Value: `{"wanted": 3, "running": 3, "healthy": 3, "revision": 3, "state": "paused", "reason": "the update failed twice",
			"rollout": {"from": 3, "to": 2, "phase": "rolling back", "since": "2026-01-02T15:03:05Z", "updated": 1, "failures": 2, "reason": "2 of 3 were not healthy in time"},
			"slots": [{"slot": 1, "host": "10.101.0.1", "revision": 3, "phase": "healthy", "restarts": 1, "exit_code": 137, "log": ["out of memory"]}], "more": 2}`},
	}
	return hosts, apps
}

func TestStatusText(t *testing.T) {
	hostNodes, appNodes := clusterNodes()
	troubledHosts, troubledApps := troubledNodes()
	broken := func(keys ...string) (nodes []store.Node) {
		for _, key := range keys {
			nodes = append(nodes, store.Node{Key: key, Value: "garbage"})
		}
		return nodes
	}
	tests := map[string]struct {
		hosts, apps []store.Node
		scheduler   schedulerReport
	}{
		"everything": {hostNodes, appNodes, schedulerReport{Host: "10.101.0.1"}},
		"empty":      {hostNodes[:1], nil, schedulerReport{Reason: "no host schedules now"}},
		"troubled":   {troubledHosts, troubledApps, schedulerReport{Host: "10.101.0.1"}},
		"unreadable": {
			hosts: append(broken("/hosts/10.101.0.2/lease", "/hosts/10.101.0.9/info", "/hosts/10.101.0.1/info"), hostNodes[0],
				store.Node{Key: "/hosts/10.101.0.8/lease", Value: `{"version": "by hand"}`}),
			apps:      append(broken("/apps/dummy/crawler/status", "/apps/dummy/dir/manifest/nginx.json", "/apps/dummy/one/manifest/1"), appNodes[0]),
			scheduler: schedulerReport{Host: "10.101.0.1"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			all := newInventory(addrs("10.101.0.1", "10.101.0.2"), test.hosts, test.apps)
			r := report{Cluster: "local", Scheduler: test.scheduler,
				Hosts: all.hostReports(), Containers: all.containerReports(), Volumes: all.volumeReports()}
			golden(t, "status_"+name+".txt", r.text(testNow))
			golden(t, "hosts_"+name+".txt", hostsText(r.Hosts))
			golden(t, "volumes_"+name+".txt", volumesText(r.Volumes))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s\n(-update writes %s)", got, want, file)
	}
}

func TestScheduler(t *testing.T) {
	failure := errors.New("failure")
	tests := map[string]struct {
		lease store.Node
		err   error
		want  schedulerReport
		fails error
	}{
		"held":      {store.Node{Value: "10.101.0.1 i0123", TTL: time.Second}, nil, schedulerReport{Host: "10.101.0.1"}, nil},
		"free":      {store.Node{}, fmt.Errorf("get: %w", store.ErrNotFound), schedulerReport{Reason: "no host schedules now"}, nil},
		"by hand":   {store.Node{Value: "x"}, nil, schedulerReport{Reason: "no host schedules: /dokkaa/scheduler was written by hand, the conductors remove it in a moment"}, nil},
		"directory": {store.Node{}, store.ErrNotFile, schedulerReport{Reason: "no host schedules: /dokkaa/scheduler is a directory"}, nil},
		"not read":  {store.Node{}, failure, schedulerReport{}, failure},
	}
	for name, test := range tests {
		if got, err := readScheduler(test.lease, test.err); got != test.want || !errors.Is(err, test.fails) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestPlacement(t *testing.T) {
	ref := state.Ref{App: "dummy", Name: "nginx"}
	tests := map[string]struct {
		status      state.Status
		where, what string
	}{
		"healthy":   {state.Status{Slots: []state.SlotStatus{{Host: "10.0.0.1", Phase: state.PhaseHealthy}}}, "10.0.0.1", "healthy on host 10.0.0.1"},
		"replaced":  {state.Status{Slots: []state.SlotStatus{{Host: "10.0.0.1", Phase: state.PhaseHealthy, Next: "soon"}}}, "", "healthy on host 10.0.0.1"},
		"no host":   {state.Status{Slots: []state.SlotStatus{{Phase: state.PhaseFailed, Reason: "no suitable host"}}}, "", "failed: no suitable host"},
		"refused":   {state.Status{Errors: []string{"image: required"}}, "", "its manifest is refused: image: required"},
		"no slots":  {state.Status{State: "pending"}, "", "pending"},
		"next slot": {state.Status{Slots: []state.SlotStatus{{Phase: state.PhaseFailed}, {Host: "h", Phase: state.PhaseHealthy}}}, "h", "healthy on host h"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := report{Containers: []containerReport{{Ref: state.Ref{App: "x", Name: "y"}}, {ref, test.status}}}
			if where, what := r.placement(ref); where != test.where || what != test.what {
				t.Errorf("placement = %q, %q; want %q, %q", where, what, test.where, test.what)
			}
		})
	}
	if _, what := (report{}).placement(ref); what != "not known yet" {
		t.Errorf("unknown container: %q", what)
	}
}
