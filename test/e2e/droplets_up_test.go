package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/digitaloceantest"
)

// operator is somebody with an account at DigitalOcean, and a home of their own.
type operator struct {
	t *testing.T
	*droplets
	env  []string
	args []string
}

func newOperator(t *testing.T, name, subnet string) *operator {
	t.Helper()
	d := newDroplets(t, name, subnet)
	server := httptest.NewServer(d.API)
	t.Cleanup(server.Close)
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(home, ".ssh", "id_ed25519")
	if err := os.Rename(d.key, key); err != nil {
		t.Fatal(err)
	}
	d.key = key
	return &operator{
		t: t, droplets: d,
		env: append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME=", "SSH_AUTH_SOCK=",
			"DIGITALOCEAN_ACCESS_TOKEN="+digitaloceantest.Token, "DIGITALOCEAN_API_URL="+server.URL),
		args: []string{"--provider=digitalocean", "--cluster=" + name, "--state-dir=" + home},
	}
}

// command is dokkaacfg as the operator calls it.
func (o *operator) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "build/bin/dokkaacfg"), append(slices.Clone(o.args), args...)...)
	cmd.Dir, cmd.Env = filepath.Join(root, "examples/nginx-and-crawler"), o.env
	return cmd
}

// call runs a command that has to work.
func (o *operator) call(args ...string) string {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 5*time.Minute)
	defer cancel()
	out, err := o.command(ctx, args...).CombinedOutput()
	if err != nil {
		o.t.Fatalf("dokkaacfg %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func upDroplets(scale int) []string {
	return []string{"up", fmt.Sprintf("--scale=%d", scale), "--ssh-key=laptop", "--ssh-from=198.51.100.7"}
}

// hosts are the names of the droplets.
func (o *operator) hosts() string {
	var names []string
	for _, d := range o.Droplets() {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// empty says what of the cluster is left.
func (o *operator) empty() error {
	o.Wait()
	machines, err := o.net.Hosts()
	if err != nil || len(machines) > 0 || len(o.Droplets())+len(o.Firewalls())+len(o.Tags())+len(o.Volumes()) > 0 || len(o.VPCs()) != len(digitaloceantest.Regions) {
		return fmt.Errorf("left are %d machines, %s, %v, %v, %v, %v, err %v", len(machines), o.hosts(), o.Firewalls(), o.Tags(), o.Volumes(), o.VPCs(), err)
	}
	return nil
}

// on runs a script on a droplet, beside dokkaacfg.
func (o *operator) on(d digitaloceantest.Droplet, script string) (string, error) {
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-i", o.key, "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
		"-o", "LogLevel=error", "root@"+d.Public.String(), script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// letsOnlyTheKeyIn looks at what the user data made of a droplet's SSH server.
func (o *operator) letsOnlyTheKeyIn(d digitaloceantest.Droplet) {
	o.t.Helper()
	out, err := o.on(d, "hostname; sshd -T | grep -E '^(passwordauth|kbdinter|permitroot)'")
	want := d.Name + "\npermitrootlogin without-password\npasswordauthentication no\nkbdinteractiveauthentication no\n"
	if err != nil || out != want {
		o.t.Errorf("host %s says %q, %v", d.Name, out, err)
	}
}

// TestUpAtDigitalOcean makes a cluster of droplets on a bad day of DigitalOcean, runs the example
// on it, and removes it.
func TestUpAtDigitalOcean(t *testing.T) {
	t.Parallel() // it waits more than it works, and is held to no time that matters
	o := newOperator(t, "dropup", "10.126.2.0/24")
	o.SetLate(1)
	o.Fail(digitaloceantest.Fault{Method: http.MethodPost, Path: "/v2/droplets", After: true})
	o.Fail(digitaloceantest.Fault{Method: http.MethodGet, Path: "/v2/droplets", Skip: 2, Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	t.Log(o.call(upDroplets(2)...))
	if o.hosts() != "dropup-1 dropup-2" {
		t.Fatalf("hosts are %s", o.hosts())
	}
	for _, d := range o.Droplets() {
		o.letsOnlyTheKeyIn(d)
	}
	t.Log(o.call("apply", "-f", "."))
	t.Log(o.call("status"))
	t.Log(o.call("down", "--yes"))
	if err := o.empty(); err != nil {
		t.Error(err)
	}
}
