package dokkaacfg

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/vhost"
	"github.com/dokkaa/dokkaa/internal/vhosttest"
)

// The images that "make images" built, and the documented example.
var (
	builtImages = filepath.Join("..", "build", "images")
	manifests   = filepath.Join("..", "examples", "nginx-and-crawler")
)

// call runs the command line as a user does.
func call(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr strings.Builder
	code = Main(context.Background(), args, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// mustCall is call of what has to work.
func mustCall(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := call(t, args...)
	if code != 0 {
		t.Fatalf("dokkaacfg %s: exit code %d\n%s\n%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// localCluster returns the flags that name a cluster of the test's own, and the cluster. It is
// taken down, and found to be gone, when the test ends.
func localCluster(t *testing.T, name, subnet string) ([]string, *vhost.Cluster) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("virtual hosts need root")
	}
	vhosttest.Claim(t, name)
	stateDir := t.TempDir()
	cluster, err := vhost.New(vhost.Options{Name: name, Subnet: netip.MustParsePrefix(subnet), Dir: filepath.Join(stateDir, name)})
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{"--cluster=" + name, "--subnet=" + subnet, "--state-dir=" + stateDir}
	remove := func() {
		mustCall(t, append(flags, "down", "--yes")...)
		left, err := cluster.Leftovers(context.Background())
		if err != nil || len(left) > 0 {
			t.Errorf("down left %q, %v", left, err)
		}
		if files, err := filepath.Glob(filepath.Join(stateDir, "*")); err != nil || len(files) > 0 {
			t.Errorf("down left %q, %v", files, err)
		}
	}
	remove() // after an earlier run that was killed
	t.Cleanup(remove)
	return flags, cluster
}

// A cluster grows from one etcd member to three while it keeps its keys, and up again changes
// nothing.
func TestUpGrowsACluster(t *testing.T) {
	flags, cluster := localCluster(t, "cfgtest", "10.104.0.0/24")
	up := append(slices.Clone(flags), "up", "--images="+builtImages)
	mustCall(t, append(up, "--scale=2")...)
	putKey(t, cluster.Host(1).IP(), "/test/kept", "yes")

	before := containerIDs(t, cluster, 2)
	if out := mustCall(t, append(up, "--scale=2")...); !strings.Contains(out, " 0 loaded now") {
		t.Errorf("second up loads images:\n%s", out)
	}
	if after := containerIDs(t, cluster, 2); !slices.Equal(before, after) {
		t.Errorf("second up changed containers: %q, then %q", before, after)
	}
	if code, _, errOut := call(t, append(up, "--scale=1")...); code != 1 || !strings.Contains(errOut, "up does not remove any") {
		t.Errorf("up --scale=1 ends with %d: %s", code, errOut)
	}

	mustCall(t, append(up, "--scale=3")...)
	var r report
	if err := json.Unmarshal([]byte(mustCall(t, append(flags, "status", "--output=json")...)), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Hosts) != 3 {
		t.Errorf("status shows %d hosts, want 3", len(r.Hosts))
	}
	for _, host := range r.Hosts {
		if host.State == hostLost {
			t.Errorf("host %s is lost: %s", host.IP, host.Reason)
		}
	}
	if list, err := (etcdAPI{members: []netip.Addr{cluster.Host(3).IP()}}).list(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("etcd's members are %v, %v; want 3", list, err)
	}
	// Any host's gateway has the key, also with the first host gone.
	if err := cluster.Host(1).PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys, err := openKeys([]Host{cluster.Host(1), cluster.Host(3)}, doors{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = poll(t.Context(), 30*time.Second, func(ctx context.Context) error {
		_, err := keys.Get(ctx, "/test/kept")
		return err
	})
	if err != nil {
		t.Errorf("the key from before: %v", err)
	}
	// Status works with a host down, and up brings it back.
	mustCall(t, append(flags, "status")...)
	mustCall(t, up...)
}

// Whenever up is killed, up again completes the cluster.
func TestUpAfterCrash(t *testing.T) {
	if args := os.Getenv("DOKKAACFG_TEST_ARGS"); args != "" {
		code, out, errOut := call(t, strings.Split(args, "\n")...)
		t.Fatal("was not killed", code, out, errOut)
	}
	flags, _ := localCluster(t, "cfgcrash", "10.105.0.0/24")
	up := append(slices.Clone(flags), "up", "--scale=3", "--images="+builtImages)
	for _, after := range []time.Duration{300 * time.Millisecond, 3 * time.Second, time.Second} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestUpAfterCrash$")
		cmd.Env = append(os.Environ(), "DOKKAACFG_TEST_ARGS="+strings.Join(up, "\n"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
		err := cmd.Wait()
		timer.Stop()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("up was to be killed after %s and ended with %v", after, err)
		}
	}
	mustCall(t, up...)
}

// Without virtual hosts the demo does the same on the engine that is there, and leaves what else
// is on it alone.
func TestOwnEngine(t *testing.T) {
	_, cluster := localCluster(t, "cfgown", "10.106.0.0/24")
	if err := cluster.Up(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	host := cluster.Host(1)
	engine, err := docker.New(host.DockerHost(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client, err := engine.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own := &ownEngine{reason: "a test", engine: engine, ip: host.IP(), keep: filepath.Join(t.TempDir(), "kept")}
	s, out := newSession(t, own, "")

	foreign := runForeign(t, client, "skydns")
	if _, err := s.up(t.Context(), newProgress(out), 1, builtImages, ""); err == nil || !strings.Contains(err.Error(), "a container named skydns that Dokkaa did not make") {
		t.Errorf("up over a foreign container says %v", err)
	}
	if left, err := own.leftovers(t.Context()); err != nil || slices.ContainsFunc(left, func(l string) bool { return strings.HasPrefix(l, "container") }) {
		t.Errorf("up was refused and made %q, %v", left, err)
	}
	rename := dockerclient.RenameContainerOptions{ID: foreign, Name: "other", Context: t.Context()}
	if err := client.RenameContainer(rename); err != nil {
		t.Fatal(err)
	}

	demo := &demoCommand{Scale: 2, Images: builtImages, Manifests: manifests}
	if err := demo.Run(t.Context(), s); err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	for _, told := range []string{"one host, this machine with its own Docker Engine (a test)", "| <h1>Welcome to nginx!</h1>", "It works"} {
		if !strings.Contains(out.String(), told) {
			t.Errorf("demo does not tell of %q:\n%s", told, out)
		}
	}
	if err := (&downCommand{Yes: true}).Run(t.Context(), s); err != nil {
		t.Fatalf("down: %v\n%s", err, out)
	}
	if left, err := own.leftovers(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("down left %q, %v", left, err)
	}
	if containers, err := client.ListContainers(dockerclient.ListContainersOptions{Context: t.Context()}); err != nil || len(containers) != 1 {
		t.Errorf("the foreign container is gone: %v, %v", containers, err)
	}
}

// runForeign runs a container that is not Dokkaa's, from an image that is not either.
func runForeign(t *testing.T, client *dockerclient.Client, name string) (id string) {
	t.Helper()
	empty := dockerclient.ImportImageOptions{Repository: "foreign", Source: "-", InputStream: strings.NewReader(string(make([]byte, 1024))), OutputStream: t.Output(), Context: t.Context()}
	if err := client.ImportImage(empty); err != nil {
		t.Fatal(err)
	}
	container, err := client.CreateContainer(dockerclient.CreateContainerOptions{
		Name:       name,
		Config:     &dockerclient.Config{Image: "foreign", Cmd: []string{"/sleep", "1000"}},
		HostConfig: &dockerclient.HostConfig{NetworkMode: "none", Binds: []string{staticSleep(t) + ":/sleep"}},
		Context:    t.Context(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.StartContainerWithContext(container.ID, nil, t.Context()); err != nil {
		t.Fatal(err)
	}
	return container.ID
}

// staticSleep is a program that does nothing and needs nothing: busybox of the demo's packages.
func staticSleep(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "build", "debian"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(path, "*", "tree", "usr", "bin", "busybox"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no busybox below %s (make images fetches it): %v", path, err)
	}
	return found[0]
}

func containerIDs(t *testing.T, cluster *vhost.Cluster, hosts int) []string {
	t.Helper()
	var ids []string
	for n := range hosts {
		engine, err := connect(t.Context(), cluster.Host(n+1), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		containers, err := engine.client.ListContainers(dockerclient.ListContainersOptions{Context: t.Context()})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range containers {
			ids = append(ids, c.Names[0]+" "+c.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func putKey(t *testing.T, host netip.Addr, key, value string) {
	t.Helper()
	url := fmt.Sprintf("%s/v2/keys%s?value=%s", doors{}.gateway(host), key, value)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("PUT %s: %s", url, resp.Status)
	}
}
