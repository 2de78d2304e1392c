//go:build faults

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/digitaloceantest"
)

// life is the life of a cluster of droplets, as its operator lives through it: by commands alone.
type life struct {
	*operator
	t *testing.T
}

// TestLifeOfACluster leads a cluster from its first up to its down. Where nothing is broken behind
// the operator's back, somebody asks a service for its page all the time, and always gets it.
func TestLifeOfACluster(t *testing.T) {
	l := &life{operator: newOperator(t, "droplife", "10.126.5.0/24"), t: t}
	l.SetLate(1)
	l.part("up", func() {
		l.says("hosts that have joined: 3", upDroplets(3)...)
		l.isWhole(3)
	})
	l.part("the walk-through", l.walkThrough)
	l.part("load", l.load)
	l.loaded("certs rotate", func() { l.says("", "certs", "rotate") })
	l.loaded("certs rotate --ca", func() { l.says("", "certs", "rotate", "--ca") })
	l.loaded("scale to 4", func() {
		l.says("the cluster has 4 hosts", append([]string{"scale", "4"}, upDroplets(4)[2:]...)...)
		l.hostsAre(4)
	})
	l.loaded("scale to 2", func() {
		l.says("", "scale", "2", "--yes")
		l.hostsAre(2)
	})
	l.loaded("scale to 3", func() {
		l.says("the cluster has 3 hosts", append([]string{"scale", "3"}, upDroplets(3)[2:]...)...)
		l.hostsAre(3)
	})
	next := l.images("next")
	l.loaded("upgrade", func() { l.says("the cluster is up to date", "upgrade", "--images="+next) })
	l.part("a host is destroyed", func() {
		l.lose(2)
		l.says("", upDroplets(3)...)
		l.hostsAre(3)
		l.settled()
	})
	backup := filepath.Join(t.TempDir(), "backup.json")
	l.part("backup", func() {
		l.call("rm", "dummy/loader", "--yes") // it can be on the first droplet only, which is lost too in the end
		l.says("", "backup", backup)
	})
	l.part("most hosts are lost", func() {
		l.lose(2)
		l.lose(3)
		before := l.started()
		l.says("", "recover", "--yes")
		if now := l.started(); len(before) == 0 || !maps.Equal(before, now) {
			l.t.Errorf("containers of the host that is left ran since %v, and do since %v", before, now)
		}
		l.says("", upDroplets(3)...)
		l.hostsAre(3)
		l.settled()
	})
	l.part("all is lost", func() {
		for n := range 3 {
			l.lose(n + 1)
		}
		l.says("hosts that have joined: 3", upDroplets(3)...)
		l.says("", "restore", backup, "--yes")
		l.hostsAre(3)
		l.settled()
		l.crawls()
		if out := l.call("inspect", "dummy/web"); !strings.Contains(out, "dockerfile/nginx") {
			l.t.Errorf("the manifest is not back:\n%s", out)
		}
	})
	l.part("down", func() {
		l.call("down", "--yes")
		if err := l.empty(); err != nil {
			l.t.Error(err)
		}
	})
}

// part is a part of the life; without it the rest makes no sense.
func (l *life) part(name string, do func()) {
	l.t.Helper()
	start := time.Now()
	if !l.t.Run(name, func(t *testing.T) {
		whole, of := l.t, l.operator.t
		l.t, l.operator.t = t, t
		defer func() { l.t, l.operator.t = whole, of }()
		do()
	}) {
		l.dump()
		l.t.FailNow()
	}
	l.t.Logf("%s took %s", name, time.Since(start).Round(time.Second))
}

// dump shows what the droplets have and say.
func (l *life) dump() {
	const look = `docker ps --all; nft list set inet dokkaa_hosts hosts
		exec 3<>/dev/tcp/127.0.0.1/4001; printf 'GET /v2/keys/skydns?recursive=true HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; tail -n1 <&3
		exec 3<>/dev/tcp/127.0.0.1/4003; printf 'GET /debug/callers HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3
		for daemon in conductor ambassador skydns gateway etcd; do echo "== $daemon"; docker logs --tail 20 $daemon 2>&1; done`
	for _, d := range l.Droplets() {
		out, err := l.on(d, look)
		l.t.Logf("host %s: %v\n%s", d.Name, err, out)
	}
}

// loaded is a part in which no request may fail.
func (l *life) loaded(name string, do func()) {
	l.t.Helper()
	l.part(name, func() {
		before := l.asked()
		do()
		l.settled()
		time.Sleep(5 * time.Second) // what is under way now, and certificates that are read again, count too
		after := l.asked()
		took := after.Time.Sub(before.Time)
		l.t.Logf("%d requests in %s, %d failed", after.OK-before.OK, took.Round(time.Second), after.Failed-before.Failed)
		if failed := after.Failed - before.Failed; failed > 0 {
			l.t.Errorf("%d requests failed: %s", failed, strings.Join(after.Errors, "; "))
		}
		if perSecond := float64(after.OK-before.OK) / took.Seconds(); perSecond < 2 {
			l.t.Errorf("only %.1f requests in a second", perSecond)
		}
	})
}

// says is call of a command that has to say something.
func (l *life) says(want string, args ...string) {
	l.t.Helper()
	out := l.call(args...)
	l.t.Logf("dokkaacfg %s:\n%s", strings.Join(args, " "), out)
	if !strings.Contains(out, want) {
		l.t.Errorf("dokkaacfg %s does not say %q", strings.Join(args, " "), want)
	}
}

func (l *life) name(n int) string { return fmt.Sprintf("droplife-%d", n) }

// first is the droplet that stays.
func (l *life) first() digitaloceantest.Droplet {
	l.t.Helper()
	for _, d := range l.Droplets() {
		if d.Name == l.name(1) {
			return d
		}
	}
	l.t.Fatal("the first droplet is not there")
	return digitaloceantest.Droplet{}
}

// lose destroys a droplet behind the operator's back.
func (l *life) lose(n int) {
	l.Lose(l.name(n))
	l.Wait()
}

// started are the containers of applications on the first droplet, and since when they run.
func (l *life) started() map[string]string {
	l.t.Helper()
	out, err := l.on(l.first(), `docker ps -q --filter label=dokkaa.app | xargs -r docker inspect --format '{{.Name}} {{.State.StartedAt}}'`)
	if err != nil {
		l.t.Fatal(err, out)
	}
	all := map[string]string{}
	for line := range strings.Lines(out) {
		name, since, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[name] = since
	}
	return all
}

// hostsAre looks at the account: the first n hosts, and nothing beside them.
func (l *life) hostsAre(n int) {
	l.t.Helper()
	l.Wait()
	var names []string
	for n := range n {
		names = append(names, l.name(n+1))
	}
	machines, err := l.net.Hosts()
	if want := strings.Join(names, " "); l.hosts() != want || err != nil || len(machines) != n || len(l.Firewalls()) != 1 {
		l.t.Errorf("hosts are %s on %d machines, want %s; %v, %v", l.hosts(), len(machines), want, l.Firewalls(), err)
	}
}

// walkThrough runs the example, and sees the crawler get the page.
func (l *life) walkThrough() {
	l.says("nginx-and-crawler/crawler: running, 1 of 1 healthy", "apply", "-f", ".")
	l.crawls()
}

func (l *life) crawls() {
	l.t.Helper()
	l.eventually("the crawler has the page", func() error {
		if out := l.call("logs", "nginx-and-crawler/crawler", "--tail=20"); !strings.Contains(out, "Welcome to nginx") {
			return fmt.Errorf("its log is %q", out)
		}
		return nil
	})
}

const (
	webManifest = `{"image": "dockerfile/nginx", "scale": 3, "services": {"web": 80},
		"checks": [{"type": "http", "interval": "1s", "start_interval": "100ms"}], "update": {"min_healthy_time": "2s"}}`
	loaderManifest = `{"image": "test/loader", "links": ["web"], "pull": "never", "constraints": ["host.ip == %s"]}`
)

// load starts what asks for pages, on the host that stays.
func (l *life) load() {
	dir := l.t.TempDir()
	build := exec.CommandContext(l.t.Context(), "go", "build", "-C", root, "-o", filepath.Join(dir, "loader"), "./test/e2e/loader")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	const bring = `tar -C "$0" -c loader | ssh -i "$1" -o BatchMode=yes -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=error "root@$2" \
		"docker import --change 'ENTRYPOINT [\"/loader\"]' - test/loader"`
	if out, err := exec.CommandContext(l.t.Context(), "bash", "-o", "pipefail", "-c", bring, dir, l.key, l.first().Public.String()).CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	l.apply("dummy/web", webManifest)
	l.apply("dummy/loader", fmt.Sprintf(loaderManifest, l.first().Private))
	l.eventually("there is load", func() error {
		if r := l.asked(); r.OK < 20 || r.Failed > 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}

// images is a directory of images of another release.
func (l *life) images(release string) string {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), release)
	cmd := exec.CommandContext(l.t.Context(), "go", "run", "-C", root, "./images", "--release="+release, "--bin="+filepath.Join(root, "build/bin"), "--out="+dir,
		"ambassador", "conductor", "etcd", "gateway", "skydns")
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func (l *life) apply(ref, manifest string) {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "manifest.json")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.says("running", "apply", "-f", file, ref)
}

// asked is how the requests went so far.
func (l *life) asked() (r loadReport) {
	l.t.Helper()
	out, err := l.on(l.first(), "docker logs --tail 1 dummy---loader")
	if err == nil {
		err = json.Unmarshal([]byte(out), &r)
	}
	if err != nil {
		l.t.Fatalf("the loader says %q: %v", out, err)
	}
	return r
}

// settled waits until all containers are as they should be.
func (l *life) settled() {
	l.t.Helper()
	l.eventually("all is as it should be", func() error {
		_, err := l.instances()
		return err
	})
}

func (l *life) eventually(what string, check func() error) {
	l.t.Helper()
	for deadline := time.Now().Add(slack * 20 * time.Second); ; time.Sleep(time.Second) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: %v", what, err)
		}
	}
}
