// Package architecture holds the rules about which package may import which, as a test.
package architecture

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dokkaa/dokkaa/"

// daemons never import each other: they meet only through etcd keys, DNS and HTTP.
var daemons = []string{"conductor", "ambassador", "skydns", "gateway", "dokkaacfg"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// below tells whether the package path, relative to the module, is dir or in it.
func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func daemonOf(path string) string {
	for _, d := range daemons {
		if below(path, d) {
			return d
		}
	}
	return ""
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			if reason := forbidden(path, imported); reason != "" {
				t.Errorf("%s imports %s: %s", path, imported, reason)
			}
		}
	}
}

// only lists packages that few may import, with the reason.
var only = []struct {
	imported, reason string
	by               []string
}{
	{"github.com/coreos/go-etcd/etcd", "go-etcd has sharp edges that only the store knows", []string{"internal/store"}},
	{"github.com/fsouza/go-dockerclient", "only the Docker adapters speak to Docker",
		[]string{"internal/docker", "conductor/engine", "ambassador", "dokkaacfg", "internal/vhost"}},
	{"github.com/robfig/cron/v3", "what a schedule means is the manifest's to say", []string{"manifest"}},
	{"github.com/spf13/cobra", "a daemon has settings, not commands (docs/adr/0026)", []string{"dokkaacfg"}},
	{"github.com/compose-spec/compose-go/v2/cli", "Compose files are read in one place", []string{"dokkaacfg/compose"}},
	{"github.com/alecthomas/kong", "the command line has commands, which are cobra's (docs/adr/0026)",
		[]string{"internal/daemon", "skydns", "images", "test/bench"}},
	{"github.com/digitalocean/godo", "only the provider speaks to DigitalOcean", []string{"dokkaacfg/digitalocean"}},
	{"github.com/getkin/kin-openapi/openapi3", "descriptions of APIs are for tests", []string{"internal/digitaloceantest"}},
	{"github.com/google/nftables", "only the firewall and the kernel path write rules", []string{"conductor/firewall", "ambassador/kernel"}},
	{"github.com/mdlayher/netlink", "only the firewall and the kernel path have the capability that this takes",
		[]string{"conductor/firewall", "ambassador/kernel"}},
}

// pure packages compute: input in, plan out. No I/O, no logger, and no clock: see clock_test.go.
var pure = map[string][]string{
	"conductor/schedule":           {"os", "net", "net/http", "log/slog", module + "internal/store", module + "internal/docker"},
	"conductor/schedule/placement": {"os", "net", "net/http", "log/slog", "time", module + "internal/store", module + "internal/docker"},
	"ambassador/backend":           {"os", "net", "net/http", "log/slog", "context", module + "internal/docker"},
	"dokkaacfg/membership":         {"os", "net", "net/http", "log/slog", "time", module + "internal/store", module + "internal/docker"},
	"dokkaacfg/backup":             {"os", "net", "net/http", "log/slog", module + "internal/store", module + "internal/docker"},
	"dokkaacfg/explain":            {"os", "net", "net/http", "log/slog", "time", module + "internal/store", module + "internal/docker"},
	"internal/state":               {"os", "net", "net/http", "log/slog", module + "internal/store"},
}

// leaves are shared by everybody, so they import nothing of ours and little else: miekg/dns, and
// the parser of schedules, which is pure (docs/adr/0009).
var (
	leaves    = []string{"manifest", "skydns/msg"}
	leavesUse = []string{"github.com/miekg/dns", "github.com/robfig/cron/v3"}
)

func forbidden(path, imported string) string {
	ours, isOurs := strings.CutPrefix(imported, module)
	for _, rule := range only {
		if imported == rule.imported && !oneOf(path, rule.by) {
			return rule.reason
		}
	}
	for _, what := range pure[path] {
		if imported == what {
			return "planning is pure: no I/O, no clock, no logger"
		}
	}
	for _, leaf := range leaves {
		if path == leaf && strings.Contains(strings.Split(imported, "/")[0], ".") && !slices.Contains(leavesUse, imported) {
			return "a leaf package imports the standard library, miekg/dns and a parser of cron only"
		}
	}
	if !isOurs {
		return ""
	}
	from, to := daemonOf(path), daemonOf(ours)
	switch {
	case ours == "skydns/msg":
		return ""
	case below(ours, "cmd"):
		return "nobody imports a command"
	case below(path, "internal") && to != "":
		return "internal packages are below the daemons"
	case from != "" && to != "" && from != to:
		return "daemons meet only through etcd keys, DNS and HTTP"
	}
	return ""
}

func oneOf(path string, dirs []string) bool {
	for _, dir := range dirs {
		if below(path, dir) {
			return true
		}
	}
	return false
}

func TestForbidden(t *testing.T) {
	for _, bad := range [][2]string{
		{"conductor/agent", "github.com/coreos/go-etcd/etcd"}, {"conductor", module + "ambassador"}, {"internal/store", module + "conductor"},
	} {
		if forbidden(bad[0], bad[1]) == "" {
			t.Errorf("%s may import %s", bad[0], bad[1])
		}
	}
}
