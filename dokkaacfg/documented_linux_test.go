package dokkaacfg

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/vhost"
)

// documented are the commands in the code blocks of docs/operations.md from a heading to another.
func documented(t *testing.T, from, to string) (commands []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "\n## "+from+"\n")
	part, _, ends := strings.Cut(part, "\n## "+to+"\n")
	if !found || !ends {
		t.Fatalf("docs/operations.md has no part from %q to %q", from, to)
	}
	for line := range strings.Lines(part) {
		if command, isCode := strings.CutPrefix(line, "    "); isCode {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}

// What docs/operations.md says of applications, hosts, volumes and secrets is run as it stands
// there, in its order.
func TestDocumentedCommands(t *testing.T) {
	program, err := filepath.Abs(filepath.Join("..", "build", "bin", "dokkaacfg"))
	if err != nil {
		t.Fatal(err)
	}
	flags, cluster := localCluster(t, "cfgdocs", "10.107.0.0/24")
	mustCall(t, append(flags, "up", "--scale=3", "--images="+builtImages)...)
	d := documentation{t: t, cluster: cluster, flags: flags, dir: t.TempDir()}
	d.write("tls.key", "key")
	d.write("site.conf", "listen 80\n")
	d.write("compose.yaml", composeFile)
	d.write("nginx.json", `{"image": "dockerfile/nginx", "scale": 2, "services": {"nginx": 80}, "update": {"min_healthy_time": "1s"}}`)

	const registryAt = "10.107.0.1:5000"
	startDebianRegistry(t, cluster.Host(1), registryAt, "ann", "hunter2")
	replace := strings.NewReplacer("registry.example.com:5000", registryAt, "build/bin/dokkaacfg", program+" "+strings.Join(flags, " "), "10.101.0.", "10.107.0.")
	commands := documented(t, "Applications", "By hand")
	if len(commands) < 20 {
		t.Fatalf("documented are %q", commands)
	}
	for _, command := range commands {
		d.prepare(command)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		shell := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", replace.Replace(command))
		shell.Dir = d.dir
		shell.Env = append(os.Environ(), "TOKEN=hunter2")
		out, err := shell.CombinedOutput()
		cancel()
		t.Logf("$ %s\n%s", command, out)
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		d.check(command, string(out))
	}
	testCommands(t, program, flags, cluster)
}

// composeFile has a reader that is healthy when it gets the page, at the address that convert wrote.
const composeFile = `name: site
services:
  page: {image: dockerfile/nginx, expose: ["80"]}
  reader:
    image: dockerfile/ubuntu
    command: ["/bin/bash", "-c", "trap exit TERM; while true; do sleep 1; done"]
    environment: {URL: "http://page:80/"}
    healthcheck: {test: ["CMD", "/bin/bash", "-c", "curl -fs $$URL"], interval: 1s}
`

// documentation is what the documented commands are about.
type documentation struct {
	t       *testing.T
	cluster *vhost.Cluster
	flags   []string
	dir     string
}

func (d *documentation) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *documentation) put(name, manifest string) {
	d.t.Helper()
	d.write(name+".json", manifest)
	command := exec.CommandContext(d.t.Context(), "sh", "-c", putCommand(d.cluster.Host(1).IP(), state.Ref{App: "dummy", Name: name}))
	command.Dir = d.dir
	if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), `"action"`) {
		d.t.Fatalf("put %s: %v\n%s", name, err, out)
	}
}

// call runs a command of the test's own.
func (d *documentation) call(args ...string) string {
	d.t.Helper()
	return mustCall(d.t, append(d.flags[:len(d.flags):len(d.flags)], args...)...)
}

// prepare makes what a documented command needs.
func (d *documentation) prepare(command string) {
	d.t.Helper()
	switch words := strings.Fields(command); strings.Join(words[1:min(3, len(words))], " ") {
	case "promote dummy/nginx":
		d.put("nginx", `{"image": "dockerfile/nginx", "scale": 2, "services": {"nginx": 80}, "env": {"NEW": "1"}, "update": {"canary": 1, "min_healthy_time": "1s"}}`)
		d.call("wait", "dummy/nginx", "--canary")
	case "host rm":
		if err := d.cluster.Host(3).PowerOff(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
		d.eventually("host 3 is lost and empty", func(r report) bool {
			for _, c := range r.Containers {
				for _, slot := range c.Slots {
					if slot.Host == r.Hosts[2].IP {
						return false
					}
				}
			}
			return r.Hosts[2].State == hostLost
		})
	case "volume ls":
		d.put("db", `{"image": "dockerfile/nginx", "services": {"db": 80}, "constraints": ["host.ip == 10.107.0.1"], "volumes": [{"name": "data", "path": "/data"}]}`)
		d.call("wait", "dummy/db")
	case "volume rm":
		d.put("db", `{"image": "dockerfile/nginx", "services": {"db": 80}, "scale": 0}`)
		d.eventually("db is gone", func(r report) bool { return r.Containers[0].State == "stopped" && len(r.Volumes[0].UsedBy) == 0 })
	}
}

// check looks at what a documented command has to say.
func (d *documentation) check(command, out string) {
	d.t.Helper()
	for part, want := range map[string]string{
		"apply -f nginx": "dummy/nginx: running, 2 of 2 healthy", "ps dummy": "dummy/nginx 2", "stats dummy": "dummy/nginx 2  ", "inspect": "verdict: ", "logs": "site/page 1 | ", "exec": "nginx version", " run dockerfile": "once", "scale": "3 of 3 healthy, revision 1",
		"restart": "revision 2", "promote": "running, 3 of 3 healthy, revision 3", "rollback": "- env.NEW", "stop": "dummy/nginx: stopped", " start dummy": "running, 2 of 2 healthy", "convert": "site/reader: running, 1 of 1 healthy", "rm site": "site/reader is removed",
		"host drain": "host 10.107.0.2 is empty\n", "host rm": "host 10.107.0.3 is forgotten", "volume ls": "dummy---db---data",
		"volume rm": "removed", "secret ls": "dummy/password", "registry login": "takes user ann", "registry ls": "10.107.0.1:5000  ann", "config cat": "listen 80\n", "zone-": "disk=ssd\n",
	} {
		if strings.Contains(command, part) && !strings.Contains(out, want) {
			d.t.Errorf("%s does not say %q:\n%s", command, want, out)
		}
	}
	if strings.Contains(out, "hunter2") {
		d.t.Errorf("%s shows a secret:\n%s", command, out)
	}
}

func (d *documentation) eventually(what string, is func(report) bool) {
	d.t.Helper()
	var r report
	err := poll(d.t.Context(), time.Minute, func(context.Context) error {
		r = report{}
		if err := json.Unmarshal([]byte(d.call("status", "--output=json")), &r); err != nil {
			return err
		}
		if !is(r) {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		d.t.Fatalf("%s: %v: %+v", what, err, r)
	}
}
