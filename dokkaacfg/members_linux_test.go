//go:build faults

package dokkaacfg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/dokkaacfg/membership"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/internal/vhost"
)

// memberTest is a cluster of virtual hosts that come and go.
type memberTest struct {
	*testing.T
	cluster *vhost.Cluster
	flags   []string
	program string
}

func newMemberTest(t *testing.T, name, subnet string) *memberTest {
	t.Helper()
	program, err := filepath.Abs(filepath.Join("..", "build", "bin", "dokkaacfg"))
	if err != nil {
		t.Fatal(err)
	}
	flags, cluster := localCluster(t, name, subnet)
	return &memberTest{T: t, cluster: cluster, flags: flags, program: program}
}

func (m *memberTest) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, m.program, append(slices.Clone(m.flags), args...)...)
}

// call runs a command that has to work.
func (m *memberTest) call(args ...string) string {
	m.Helper()
	return m.typing("", args...)
}

// typing is call of a command that is told something.
func (m *memberTest) typing(input string, args ...string) string {
	m.Helper()
	start := time.Now()
	cmd := m.command(m.Context(), args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	m.Logf("$ dokkaacfg %s (%s)\n%s", strings.Join(args, " "), time.Since(start).Round(100*time.Millisecond), out)
	if err != nil {
		m.Fatalf("dokkaacfg %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// fails runs a command that must fail, and say why.
func (m *memberTest) fails(says string, args ...string) {
	m.Helper()
	out, err := m.command(m.Context(), args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), says) {
		m.Fatalf("dokkaacfg %s: %v, want %q in\n%s", strings.Join(args, " "), err, says, out)
	}
}

// hosts are those that there are.
func (m *memberTest) hosts() []*vhost.Host {
	m.Helper()
	hosts, err := m.cluster.Hosts()
	if err != nil {
		m.Fatal(err)
	}
	return hosts
}

// is checks that there are just these hosts, in the cluster's memory too, and as many members of etcd as
// they call for; and that the crawler gets its pages.
func (m *memberTest) is(numbers ...int) {
	m.Helper()
	var got []int
	var members []netip.Addr
	for _, host := range m.hosts() {
		got = append(got, host.Number())
		members = append(members, host.IP())
	}
	if !slices.Equal(got, numbers) {
		m.Fatalf("hosts are %v, want %v", got, numbers)
	}
	list, err := (etcdAPI{members: members, dial: dialTo(nil)}).list(m.Context())
	if err != nil || len(list) != membership.Count(len(numbers)) || slices.ContainsFunc(list, func(member membership.Member) bool { return member.Learner }) {
		m.Fatalf("members of etcd are %v, %v", list, err)
	}
	var r report
	if err := json.Unmarshal([]byte(m.call("status", "-o", "json")), &r); err != nil {
		m.Fatal(err)
	}
	for _, host := range r.Hosts {
		if host.Availability != "" || host.State == hostLost || len(r.Hosts) != len(numbers) {
			m.Errorf("status shows hosts %+v", r.Hosts)
		}
	}
	m.crawls()
}

// crawls waits until the crawler gets another page.
func (m *memberTest) crawls() {
	m.Helper()
	err := poll(m.Context(), time.Minute, func(context.Context) error {
		out, err := m.command(m.Context(), "logs", "nginx-and-crawler/crawler", "--since=3s").CombinedOutput()
		if err == nil && !strings.Contains(string(out), "Welcome to nginx") {
			err = fmt.Errorf("no page: %s", out)
		}
		return err
	})
	if err != nil {
		m.Fatalf("%v\n%s", err, m.call("status"))
	}
}

// instances are the containers of applications, and since when each runs.
func (m *memberTest) instances() []string {
	m.Helper()
	var all []string
	for _, host := range m.hosts() {
		engine, err := connect(m.Context(), host, slog.New(slog.DiscardHandler))
		if err != nil {
			m.Fatal(err)
		}
		found, err := engine.client.ListContainers(dockerclient.ListContainersOptions{All: true, Filters: map[string][]string{"label": {"dokkaa.app"}}, Context: m.Context()})
		if err != nil {
			m.Fatal(err)
		}
		for _, c := range found {
			container, err := engine.find(m.Context(), c.ID)
			if err != nil || container == nil {
				m.Fatal(container, err)
			}
			all = append(all, fmt.Sprintf("%s on %d: %s since %s, restarted %d times", c.Names[0], host.Number(), c.ID[:12], container.State.StartedAt, container.RestartCount))
		}
	}
	slices.Sort(all)
	return all
}

// same checks that all containers run on as they did.
func (m *memberTest) same(before []string) {
	m.Helper()
	time.Sleep(5 * time.Second) // a conductor that wants to change something does so by then
	if now := m.instances(); !slices.Equal(now, before) {
		m.Errorf("containers are\n%s\nand were\n%s", strings.Join(now, "\n"), strings.Join(before, "\n"))
	}
}

// loseEtcd removes all that etcd has on all hosts.
func (m *memberTest) loseEtcd() {
	m.Helper()
	for _, host := range m.hosts() {
		engine, err := connect(m.Context(), host, slog.New(slog.DiscardHandler))
		if err == nil {
			err = engine.clearEtcd(m.Context())
		}
		if err != nil {
			m.Fatal(err)
		}
	}
}

// destroy loses hosts behind everybody's back.
func (m *memberTest) destroy(numbers ...int) {
	m.Helper()
	for _, n := range numbers {
		if err := m.cluster.Host(n).Destroy(m.Context()); err != nil {
			m.Fatal(err)
		}
	}
}

// TestHostsComeAndGo runs what docs/operations.md says of growing, shrinking and lost hosts, as it
// stands there, and kills scale at random points.
func TestHostsComeAndGo(t *testing.T) {
	m := newMemberTest(t, "cfgscale", "10.131.1.0/24")
	m.call("up", "--scale=2")
	m.call("apply", "-f", manifests)
	m.is(1, 2)
	wanted := [][]int{{1, 2, 3}, {1, 2, 3, 4}, {1, 3, 4}, {1, 3}}
	for n, command := range documented(t, "Growing and shrinking", "Lost hosts") {
		command, _, _ = strings.Cut(command, "#")
		m.call(strings.Fields(strings.ReplaceAll(command, "10.101.0.", "10.131.1."))[1:]...)
		m.is(wanted[n]...)
	}
	m.fails("a cluster has at least one host", "scale", "0")
	m.fails("there is no host 10.131.1.9", "scale", "1", "--remove=10.131.1.9")

	// Killed wherever it may be, it goes on, or goes back.
	m.call("scale", "4")
	for n := range 6 {
		after := time.Duration(rand.Int64N(int64(12 * time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), after)
		out, err := m.command(ctx, "scale", "2", "--yes").CombinedOutput()
		killed := ctx.Err() != nil
		cancel()
		t.Logf("%d: killed after %s: %t", n, after.Round(time.Millisecond), killed)
		if err != nil && !killed {
			t.Fatalf("%v\n%s", err, out)
		}
		if n == 2 {
			m.call("scale", "4")
			m.is(1, 2, 3, 4)
		}
	}
	m.call("scale", "2", "--yes")
	m.is(1, 2)
	m.call("scale", "3")

	for _, n := range []int{2, 1} {
		m.destroy(n)
		for _, command := range documented(t, "Lost hosts", "Backups and the worst day") {
			m.call(strings.Fields(command)[1:]...)
		}
		m.is(1, 2, 3)
	}
}

// What is in a volume cannot be elsewhere, and neither can what the others have no room for.
func TestHostsThatCannotGo(t *testing.T) {
	m := newMemberTest(t, "cfgstay", "10.131.2.0/24")
	m.call("up", "--scale=2")
	put := func(name, manifest string) {
		t.Helper()
		putKey(t, m.cluster.Host(1).IP(), "/apps/dummy/"+name+"/manifest", manifest)
		m.call("wait", "dummy/"+name)
	}
	put("db", `%7B%22image%22:%22dockerfile/nginx%22,%22constraints%22:[%22host.ip==10.131.2.2%22],%22volumes%22:[%7B%22name%22:%22data%22,%22path%22:%22/data%22%7D]%7D`)
	m.fails("dummy/db 1 has its volume data on host 10.131.2.2", "scale", "1", "--yes")
	m.call("rm", "dummy/db", "--yes")
	put("web", `%7B%22image%22:%22dockerfile/nginx%22,%22scale%22:2,%22max_per_host%22:1%7D`)
	m.fails("dummy/web has 2 instances, of which one host takes 1 at most", "scale", "1", "--yes")
	m.call("rm", "dummy/web", "--yes")
	if out := m.call("scale", "1", "--yes"); !strings.Contains(out, "volume data of dummy/db there, with its data") {
		t.Error("it does not say that data goes")
	}
}

// TestWorstDay loses all that etcd has, and restores it; then most of etcd's hosts, and goes on with
// the one that is left; then all hosts. No container that is left notices.
func TestWorstDay(t *testing.T) {
	m := newMemberTest(t, "cfgworst", "10.131.3.0/24")
	m.call("up", "--scale=3")
	m.call("apply", "-f", manifests)
	m.call("scale", "nginx-and-crawler/nginx=2")
	secret := m.command(t.Context(), "secret", "set", "nginx-and-crawler/word")
	secret.Stdin = strings.NewReader("hunter2")
	if out, err := secret.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.is(1, 2, 3)
	before := m.instances()
	file := filepath.Join(t.TempDir(), "backup.json")
	m.call("backup", file, "--with-key")
	saved, err := readBackupFile(file)
	if err != nil {
		t.Fatal(err)
	}

	m.loseEtcd()
	m.fails("the data of etcd is lost", "up")
	m.fails("no member of etcd is left; dokkaacfg restore", "recover", "--yes")
	m.call("restore", file, "--yes")
	m.same(before)
	m.is(1, 2, 3)
	m.holds(saved.ID, 2)
	m.fails("which would be lost; nothing was changed. --force", "restore", file, "--yes")
	m.typing("cfgworst\n", "restore", file, "--force")
	m.same(before)
	m.holds(saved.ID, 2)

	// A restore that is killed leaves nothing that anybody acts on.
	m.loseEtcd()
	for range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(8*time.Second))))
		_ = m.command(ctx, "restore", file, "--yes").Run() // it was killed, or refuses since one came to its end
		cancel()
	}
	m.typing("cfgworst\n", "restore", file, "--force")
	m.same(before)
	m.is(1, 2, 3)

	m.fails("etcd has its majority", "recover", "--yes")
	left := m.hosts()[2]
	kept := slices.DeleteFunc(slices.Clone(before), func(line string) bool { return !strings.Contains(line, fmt.Sprintf(" on %d: ", left.Number())) })
	m.destroy(1, 2)
	m.call("recover", "--yes")
	m.same(kept)
	m.call("up")
	m.is(1, 2, 3)
	m.holds(saved.ID, 2)

	m.destroy(1, 2, 3)
	m.call("up", "--scale=2")
	m.call("restore", file, "--yes")
	m.call("wait", "nginx-and-crawler/nginx")
	m.is(1, 2)
	m.holds(saved.ID, 2)
}

// holds reads a manifest, the scale beside it and the cluster's id back.
func (m *memberTest) holds(id string, scale int) {
	m.Helper()
	keys, err := openKeys([]Host{m.hosts()[0]}, doors{}, slog.New(slog.DiscardHandler))
	if err != nil {
		m.Fatal(err)
	}
	defer keys.Close()
	ref := state.Ref{App: "nginx-and-crawler", Name: "nginx"}
	manifest, err := keys.Get(m.Context(), ref.ManifestKey())
	cluster, err2 := keys.Get(m.Context(), state.ClusterKey)
	override, err3 := keys.Get(m.Context(), ref.ScaleKey())
	var s state.Scale
	if err := errors.Join(err, err2, err3, json.Unmarshal([]byte(override.Value), &s)); err != nil {
		m.Fatal(err)
	}
	if !strings.Contains(manifest.Value, "dockerfile/nginx") || cluster.Value != id || s.Scale != scale || s.Modified != manifest.Modified {
		m.Errorf("manifest %+v, cluster %s, scale %+v", manifest, cluster.Value, s)
	}
}
