//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/internal/docker"
	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// TestEngine holds the engine to its contract on a real Docker Engine.
func TestEngine(t *testing.T) {
	h := newTestHost(t)
	for name, test := range map[string]func(*testing.T, *testHost){
		"life of a container":         testLife,
		"what a container is made as": testMade,
		"published port":              testPublished,
		"image that is missing":       testMissingImage,
		"names":                       testNames,
		"containers that end":         testEnds,
		"containers of others":        testOthers,
		"paused container":            testPaused,
		"network":                     testNetwork,
		"what a container is told":    testConfigured,
		"limits":                      testLimits,
		"fixed port of the host":      testHostPort,
		"files":                       testFiles,
		"volumes":                     testVolumes,
		"volumes of others":           testOtherVolumes,
		"images and a registry":       testImages,
		"off the network":             testDetached,
		"commands in a container":     testExec,
		"health by the image":         testImageHealth,
		"ended and kept":              testHalt,
	} {
		t.Run(name, func(t *testing.T) { test(t, h) })
	}
	// Last, for it leaves requests behind in a Docker that hangs.
	t.Run("Docker that hangs", func(t *testing.T) { testHangs(t, h) })
}

func testLife(t *testing.T, h *testHost) {
	s := spec(1, "ilife")
	id, err := h.engine.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := h.find(t, s.Instance)
	if c.ID != id || c.Name != s.Name || c.Status != StatusCreated || c.Ref != s.Ref || c.Slot != 1 || c.Revision != 3 || c.Addr.IsValid() {
		t.Errorf("created: %+v", c)
	}
	for range 2 { // what runs already is started
		if err := h.engine.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	c, _ = h.find(t, s.Instance)
	if c.Status != StatusRunning || !netip.MustParsePrefix(subnet).Contains(c.Addr) || c.Ports[TCP(80)] == 0 || time.Since(c.Created) > time.Minute {
		t.Errorf("started: %+v", c)
	}
	if err := h.engine.Rename(t.Context(), id, "dummy---nginx"); err != nil {
		t.Fatal(err)
	}
	if c, _ = h.find(t, s.Instance); c.Name != "dummy---nginx" || c.Status != StatusRunning {
		t.Errorf("renamed: %+v", c)
	}
	for range 2 { // what is gone is stopped
		h.stop(t, id)
	}
	if c, there := h.find(t, s.Instance); there {
		t.Errorf("stopped: %+v", c)
	}
	if err := h.engine.Start(t.Context(), id); !docker.IsNotFound(err) {
		t.Errorf("start what is gone: %v", err)
	}
}

func testMade(t *testing.T, h *testHost) {
	s := spec(2, "imade")
	s.Command = []string{"/usr/sbin/nginx", "-g", "pid /tmp/pid;"}
	id, err := h.engine.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop(t, id)
	c := h.inspect(t, id)
	want := map[string]string{LabelCluster: testCluster, LabelApp: "dummy", LabelName: "nginx", LabelSlot: "2", LabelRevision: "3",
		LabelInstance: "imade", LabelGeneration: "4", LabelBackends: `{"10001":"redis.dummy.skydns.local"}`, LabelLinks: `{"10001":{"sticky":true}}`}
	for label, value := range want {
		if c.Config.Labels[label] != value {
			t.Errorf("label %s is %q, want %q", label, c.Config.Labels[label], value)
		}
	}
	if !slices.Contains(c.Config.Env, "COLOUR=blue") || !slices.Equal(c.Config.Cmd, s.Command) {
		t.Errorf("environment %q, command %q", c.Config.Env, c.Config.Cmd)
	}
	host := c.HostConfig
	for what, is := range map[string]bool{
		"on our network":                 host.NetworkMode == Network,
		"knows the ambassador":           slices.Equal(host.ExtraHosts, []string{"ambassador:" + NetworkGateway}),
		"asks our nameserver first":      slices.Equal(host.DNS, []string{NetworkGateway, "192.0.2.53"}),
		"has no raw sockets":             slices.Contains(host.CapDrop, "NET_RAW") || slices.Contains(host.CapDrop, "CAP_NET_RAW"),
		"has an init":                    host.Init,
		"is never restarted by Docker":   host.RestartPolicy.Name == "no" || host.RestartPolicy.Name == "",
		"has a log with an end":          host.LogConfig.Config["max-size"] != "" && host.LogConfig.Config["max-file"] != "",
		"is not privileged":              !host.Privileged,
		"has no part of the host's disk": len(host.Binds) == 0,
	} {
		if !is {
			t.Errorf("not true that it %s: %+v", what, host)
		}
	}
}

// testPublished checks that a service is reached at the host's address, and at no other.
func testPublished(t *testing.T, h *testHost) {
	id := h.run(t, spec(3, "ipublished"))
	defer h.stop(t, id)
	c, _ := h.find(t, "ipublished")
	if len(c.Ports) != 1 {
		t.Fatalf("published %v", c.Ports)
	}
	port := strconv.Itoa(c.Ports[TCP(80)])
	etcdtest.WaitFor(t, 10*time.Second, func() error { return dial(t, h, net.JoinHostPort(h.IP().String(), port)) })
	for _, addr := range []string{"127.0.0.1", "172.29.0.1", NetworkGateway} {
		if dial(t, h, net.JoinHostPort(addr, port)) == nil {
			t.Errorf("published on %s too", addr)
		}
	}
}

// dial connects from the host.
func dial(t *testing.T, h *testHost, addr string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func testMissingImage(t *testing.T, h *testHost) {
	s := spec(4, "imissing")
	s.Image = "dokkaa/nobody-has-this:1"
	if _, err := h.engine.Create(t.Context(), s); !errors.Is(err, ErrNoImage) {
		t.Errorf("create: %v, want ErrNoImage", err)
	}
	image := net.JoinHostPort(h.IP().String(), "1") + "/nobody:1" // no registry listens there
	if err := h.engine.Pull(t.Context(), image, Login{}); err == nil || !strings.Contains(err.Error(), "pull image "+image) {
		t.Errorf("pull: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.engine.Pull(ctx, image, Login{}); err == nil {
		t.Error("pulled in no time")
	}
}

func testNames(t *testing.T, h *testHost) {
	s := spec(5, "inames")
	id := h.run(t, s)
	defer h.stop(t, id)
	if again, err := h.engine.Create(t.Context(), s); err != nil || again != id {
		t.Errorf("created twice: %s and %s, %v", id, again, err)
	}
	other := spec(5, "iother")
	other.Name = s.Name
	if _, err := h.engine.Create(t.Context(), other); err == nil || !strings.Contains(err.Error(), "still taken by instance inames") {
		t.Errorf("took over another instance's container: %v", err)
	}
	if _, err := h.newEngine(t, "another").Create(t.Context(), s); err == nil || !strings.Contains(err.Error(), "not of this cluster") {
		t.Errorf("took over another cluster's container: %v", err)
	}
	foreign, err := h.client.CreateContainer(dockerclient.CreateContainerOptions{Name: "mine", Context: t.Context(),
		Config: &dockerclient.Config{Image: testImage}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop(t, foreign.ID)
	other.Name = "mine"
	if _, err := h.engine.Create(t.Context(), other); err == nil || !strings.Contains(err.Error(), "not of this cluster") {
		t.Errorf("took over a user's container: %v", err)
	}
	if err := h.engine.Rename(t.Context(), id, "mine"); err == nil || !strings.Contains(err.Error(), "not of this cluster") {
		t.Errorf("two containers have one name: %v", err)
	}
}

// testEnds is about containers that end by themselves: the list shows that sooner or later.
func testEnds(t *testing.T, h *testHost) {
	killed := h.run(t, spec(6, "ikilled"))
	defer h.stop(t, killed)
	failing := spec(7, "ifailing")
	failing.Command = []string{"/usr/sbin/nginx", "-c", "/nowhere"}
	failed := h.run(t, failing)
	defer h.stop(t, failed)
	if err := h.client.KillContainer(dockerclient.KillContainerOptions{ID: killed, Signal: dockerclient.SIGKILL, Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	for instance, detail := range map[string]string{"ikilled": "Exited (137)", "ifailing": "Exited (1)"} {
		etcdtest.WaitFor(t, 10*time.Second, func() error {
			if c, _ := h.find(t, instance); c.Status != StatusExited || !strings.HasPrefix(c.Detail, detail) || c.Addr.IsValid() || len(c.Ports) > 0 {
				return fmt.Errorf("is %+v, want %s", c, detail)
			}
			return nil
		})
	}
	exit, err := h.engine.Exit(t.Context(), failed)
	if err != nil || exit.OutOfMemory || !strings.Contains(exit.LastLine(), "/nowhere") {
		t.Errorf("how it ended: %+v, %v", exit, err)
	}
	if err := h.engine.Start(t.Context(), killed); err != nil {
		t.Fatal(err)
	}
	if c, _ := h.find(t, "ikilled"); c.Status != StatusRunning || c.Ports[TCP(80)] == 0 {
		t.Errorf("started again: %+v", c)
	}
}

// testOthers is about containers that are not ours: they are counted and never listed.
func testOthers(t *testing.T, h *testHost) {
	other := h.newEngine(t, "another")
	s := spec(8, "iothers")
	s.Leash = "fenced"
	id, err := other.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop(t, id)
	half, err := h.client.CreateContainer(dockerclient.CreateContainerOptions{Name: "half", Context: t.Context(),
		Config: &dockerclient.Config{Image: testImage, Labels: map[string]string{LabelCluster: testCluster, LabelApp: "dummy", LabelSlot: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop(t, half.ID)
	all, err := h.engine.List(t.Context())
	if err != nil || len(all) > 0 {
		t.Errorf("listed %+v, %v", all, err)
	}
	unknown := h.newEngine(t, "") // before a conductor knows its cluster
	if all, err := unknown.List(t.Context()); err != nil || len(all) != 1 || all[0].Instance != "iothers" || all[0].Leash != "fenced" {
		t.Errorf("listed %+v, %v", all, err)
	}
	clusters, err := h.engine.Clusters(t.Context())
	if want := map[string]int{"another": 1, testCluster: 1}; err != nil || !maps.Equal(clusters, want) {
		t.Errorf("clusters %v, %v, want %v", clusters, err, want)
	}
}

func testPaused(t *testing.T, h *testHost) {
	id := h.run(t, spec(9, "ipaused"))
	if err := h.client.PauseContainer(id); err != nil {
		t.Fatal(err)
	}
	if c, _ := h.find(t, "ipaused"); c.Status != StatusPaused {
		t.Errorf("paused: %+v", c)
	}
	h.stop(t, id)
}

// testHangs checks that nobody waits for ever for a Docker that accepts requests and answers none.
func testHangs(t *testing.T, h *testHost) {
	if err := h.PauseDocker(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.ResumeDocker(); err != nil {
			t.Error(err)
		}
	}()
	s := spec(10, "ihangs")
	for name, call := range map[string]func(context.Context) error{
		"List":     func(ctx context.Context) error { _, err := h.engine.List(ctx); return err },
		"Clusters": func(ctx context.Context) error { _, err := h.engine.Clusters(ctx); return err },
		"Create":   func(ctx context.Context) error { _, err := h.engine.Create(ctx, s); return err },
		"Start":    func(ctx context.Context) error { return h.engine.Start(ctx, "x") },
		"Rename":   func(ctx context.Context) error { return h.engine.Rename(ctx, "x", "y") },
		"Stop":     func(ctx context.Context) error { return h.engine.Stop(ctx, "x", time.Second) },
		"Halt":     func(ctx context.Context) error { return h.engine.Halt(ctx, "x", time.Second) },
		"Exec": func(ctx context.Context) error {
			_, err := h.engine.Exec(ctx, "x", []string{"x"}, "x")
			return err
		},
		"Pull":          func(ctx context.Context) error { return h.engine.Pull(ctx, "x", Login{}) },
		"EnsureNetwork": h.engine.EnsureNetwork,
		"another's List": func(ctx context.Context) error {
			_, err := h.newEngine(t, "another").List(ctx) // which has to ask for the version first
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		started := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 2*time.Second {
			t.Errorf("%s returned %v after %v", name, err, time.Since(started))
		}
	}
	started := time.Now()
	_, err := h.engine.List(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > listTimeout+2*time.Second {
		t.Errorf("List without a deadline of the caller's returned %v after %v", err, time.Since(started))
	}
}
