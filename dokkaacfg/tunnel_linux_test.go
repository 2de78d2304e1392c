package dokkaacfg

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// announced hands on the first line that is written, as soon as it is.
type announced struct {
	line chan string
	once sync.Once
}

func (f *announced) Write(p []byte) (int, error) {
	f.once.Do(func() { f.line <- strings.TrimSpace(string(p)) })
	return len(p), nil
}

// goes runs a command that goes on until it is interrupted, and returns the first line that it says.
func (c commandTest) goes(args ...string) (says string, interrupt func()) {
	c.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := &announced{line: make(chan string, 1)}
	var errOut strings.Builder
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, append(c.flags[:len(c.flags):len(c.flags)], args...), strings.NewReader(""), out, &errOut)
	}()
	interrupt = func() {
		cancel()
		if code := <-ended; code != 0 {
			c.Errorf("%q ends with %d: %s", args, code, &errOut)
		}
	}
	select {
	case line := <-out.line:
		return line, interrupt
	case code := <-ended:
		cancel()
		c.Fatalf("%q ends with %d: %s", args, code, &errOut)
	case <-time.After(20 * time.Second):
		cancel()
		c.Fatalf("%q says nothing", args)
	}
	return "", nil
}

func (c commandTest) page(client *http.Client, url string) {
	c.Helper()
	resp, err := client.Get(url)
	if err != nil {
		c.Error(err)
		return
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), "Welcome to nginx!") {
		c.Errorf("%s: %s, %v", url, text, err)
	}
}

// tunnels has a service's pages here, also while one of its two instances goes.
func (c commandTest) tunnels() {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	url, interrupt := c.goes("open", "try/web", "--no-browser")
	for range 6 {
		c.page(client, url)
	}
	kill := exec.CommandContext(c.Context(), "sh", "-c", "docker kill $(docker ps -q --filter label=dokkaa.app=try --filter label=dokkaa.name=page)")
	kill.Env = append(os.Environ(), "DOCKER_HOST="+c.cluster.Host(1).DockerHost())
	if out, err := kill.CombinedOutput(); err != nil {
		c.Fatalf("%v: %s", err, out)
	}
	for range 6 {
		c.page(client, url)
	}
	interrupt()
	if _, err := client.Get(url); err == nil {
		c.Error("it goes on after its end")
	}

	// Nobody listens there, which is told as it would be without a tunnel between.
	says, interrupt := c.goes("port-forward", "try/shell", ":7", "--slot=1")
	if !strings.Contains(says, " leads to try/shell 1 on host ") {
		c.Fatalf("%q", says)
	}
	if err := readFrom(strings.Fields(says)[0]); !errors.Is(err, syscall.ECONNRESET) {
		c.Errorf("it reads %v", err)
	}
	interrupt()

	for of, says := range map[string]string{
		"try/shell":    "container try/shell offers no service of this name",
		"try/none":     "try/web",
		"none/none":    "app none offers none",
		"try/page 0:1": `"0:1" is no port`,
	} {
		if code, _, errOut := c.call(strings.NewReader(""), append([]string{"port-forward"}, strings.Fields(of)...)...); code == 0 || !strings.Contains(errOut, says) {
			c.Errorf("port-forward %s: %d %s", of, code, errOut)
		}
	}
}

// readFrom waits for a byte. A reset can come as early as while it connects.
func readFrom(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// runs runs jobs by images and by a container, and leaves none.
func (c commandTest) runs() {
	code, out, errOut := c.call(strings.NewReader(""), "run", "-e", "A=b", "dockerfile/ubuntu", "--", "/bin/bash", "-c", "for ((n = 0; n < 500; n++)); do echo $A $n; done; echo err >&2; sleep 1; exit 5")
	if code != 5 || strings.Count(out, "b ") != 500 || !strings.HasSuffix(out, "b 499\n") || !strings.Contains(errOut, "err\n") || !strings.Contains(errOut, "runs as job run/ubuntu-run-") {
		c.Errorf("%d %.300q %q", code, out, errOut)
	}
	if code, out, errOut := c.call(strings.NewReader(""), "run", "try/shell", "/bin/bash", "-c", "echo of a container"); code != 0 || out != "of a container\n" || !strings.Contains(errOut, "runs as job try/shell-run-") {
		c.Errorf("%d %q %q", code, out, errOut)
	}
	if _, out, _ := c.call(strings.NewReader(""), "inspect", "-o", "json", "run"); strings.Contains(out, "ubuntu-run") {
		c.Errorf("a job is left: %s", out)
	}
}

func TestJobOfAContainer(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: strings.Repeat("web", 21)}
	c.put(ref.ManifestKey(), `{"image": "x", "command": ["serve"], "env": {"A": "1", "B": "2"}, "links": ["redis"], "secrets": ["key"], "scale": 3,
		"services": {"web": 80}, "checks": [{"type": "http", "service": "web"}], "volumes": [{"name": "data", "path": "/data"}]}`)
	for name, test := range map[string]struct {
		cmd         runCommand
		app, prefix string
		want        string
	}{
		"of a container": {runCommand{Of: ref.String(), Args: []string{"--", "migrate"}}, "dummy", strings.Repeat("web", 17) + "w-run-",
			`{"command":["migrate"],"env":{"A":"1","B":"3"},"image":"x","links":["redis"],"mode":"job","on_host_loss":"fail","secrets":["key"]}`},
		"of an image": {runCommand{Of: "registry.example:5000/My_Tools/Psql:16@sha256:" + strings.Repeat("0", 64), App: "ops"}, "ops", "psql-run-",
			`{"env":{"B":"3"},"image":"registry.example:5000/My_Tools/Psql:16@sha256:` + strings.Repeat("0", 64) + `","mode":"job","on_host_loss":"fail"}`},
	} {
		t.Run(name, func(t *testing.T) {
			job, err := test.cmd.job(t.Context(), clusterKeys{Store: c.keys}, map[string]string{"B": "3"})
			if err != nil || job.ref.App != test.app || !strings.HasPrefix(job.ref.Name, test.prefix) || len(job.ref.Name) > 63 || job.manifest != test.want {
				t.Errorf("%+v, %v; want %s", job, err, test.want)
			}
		})
	}
	c.fails("does not have the form NAME=value", "run", "-e", "=x", "dockerfile/ubuntu")
	c.fails("run UPPER/x y", "run", "UPPER/x y")
}

func TestChoiceOfAnInstance(t *testing.T) {
	c := newTestCluster(t)
	ref := state.Ref{App: "dummy", Name: "web"}
	c.put(ref.ManifestKey(), `{"image": "x", "scale": 2, "services": {"page": 80}}`)
	c.fails("there is no such instance of dummy/web: dokkaacfg status says why", "exec", "dummy/web", "ls")
	c.put(ref.StatusKey(), `{"wanted": 2, "state": "pending", "waiting": ["no suitable host (2: memory)"]}`)
	c.fails("it is pending; no suitable host (2: memory)", "exec", "dummy/web", "ls")
	c.put(ref.SlotKey(1), `{"current": {"host": "10.101.0.1", "instance": "i1", "revision": 1}}`,
		state.InstanceKey("10.101.0.1", "i1"), `{"app": "dummy", "name": "web", "slot": 1, "revision": 1, "phase": "running", "reason": "port 80 refuses"}`)
	c.lease("10.101.0.1", "{}")
	c.fails("no instance of dummy/web is healthy:\n  1 on 10.101.0.1: running; port 80 refuses\n--slot=1 takes one that is not healthy\ndokkaacfg logs dummy/web shows what they write", "exec", "dummy/web", "ls")
	c.fails("there is no such instance of dummy/web: dokkaacfg ps dummy/web shows which there are", "exec", "--slot=2", "dummy/web", "ls")
	c.fails("there is no host 10.9.9.9", "exec", "--host=10.9.9.9", "dummy/web", "ls")
	c.fails("no instance of dummy/web is healthy", "port-forward", "dummy/page")
	c.delete("/hosts/10.101.0.1/lease")
	c.fails("no such instance of dummy/web runs:\n  1 on 10.101.0.1: running; its host is lost, this is how it was; port 80 refuses", "exec", "--slot=1", "dummy/web", "ls")
}

func TestBrowser(t *testing.T) {
	for want, env := range map[string]map[string]string{"": {}, "xdg-open": {"DISPLAY": ":0"}, "open": {"system": "darwin"}} {
		if got := browser(env["system"], func(name string) string { return env[name] }); got != want {
			t.Errorf("with %v it is %q", env, got)
		}
	}
}
