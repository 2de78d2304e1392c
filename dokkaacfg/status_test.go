package dokkaacfg

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/store"
)

var update = flag.Bool("update", false, "write the golden files")

// clusterNodes is a cluster with one of everything that status has to tell.
func clusterNodes() (hosts, apps []store.Node) {
	hosts = []store.Node{
		{Key: "/hosts/10.101.0.1/lease", Value: `{"ip": "10.101.0.1", "version": "v1.0.0", "news": 1}`},
		{Key: "/hosts/10.101.0.1/instances/a1", Value: `{}`},
		{Key: "/hosts/10.101.0.2/lease", Value: `{"ip": "10.101.0.2", "version": "v1.0.0", "condition": "Docker does not answer"}`},
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

func TestStatusText(t *testing.T) {
	hostNodes, appNodes := clusterNodes()
	tests := map[string]struct{ hosts, apps []store.Node }{
		"everything": {hostNodes, appNodes},
		"empty":      {hostNodes[:1], nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			hosts, err := readHosts(addrs("10.101.0.1", "10.101.0.2"), test.hosts)
			if err != nil {
				t.Fatal(err)
			}
			containers, err := readContainers(test.apps)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if err := (report{Cluster: "local", Hosts: hosts, Containers: containers}).write(&text); err != nil {
				t.Fatal(err)
			}
			golden(t, "status_"+name+".txt", text.String())
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

func TestStatusRefusesWhatItCannotRead(t *testing.T) {
	if _, err := readHosts(nil, []store.Node{{Key: "/hosts/10.0.0.1/lease", Value: "{"}}); err == nil {
		t.Error("a broken lease was taken for something")
	}
	if _, err := readContainers([]store.Node{{Key: "/apps/a/b/status", Value: "{"}}); err == nil {
		t.Error("a broken status was taken for something")
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
