//go:build linux

package engine

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/etcdtest"
)

// proc is the directory of /proc of the container's first process.
func (h *testHost) proc(t *testing.T, id string) string {
	t.Helper()
	return filepath.Join("/proc", strconv.Itoa(h.inspect(t, id).State.Pid))
}

func testConfigured(t *testing.T, h *testHost) {
	s := spec(22, "iconfigured")
	s.Entrypoint, s.Command = []string{"/usr/sbin/nginx"}, []string{"-g", "pid /tmp/pid;"}
	s.User, s.WorkingDir, s.Hostname = "12:34", "/etc/nginx", "web-1"
	s.Labels = map[string]string{"team": "shop", LabelInstance: "somebody else's"}
	id, err := h.engine.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop(t, id)
	c := h.inspect(t, id).Config
	if !slices.Equal(c.Entrypoint, s.Entrypoint) || !slices.Equal(c.Cmd, s.Command) || c.User != s.User || c.WorkingDir != s.WorkingDir || c.Hostname != s.Hostname {
		t.Errorf("made as %+v", c)
	}
	if c.Labels["team"] != "shop" || c.Labels[LabelInstance] != s.Instance {
		t.Errorf("labels %v", c.Labels)
	}
}

// testLimits reads the limits where the kernel has them.
func testLimits(t *testing.T, h *testHost) {
	for _, test := range []struct {
		instance            string
		cpus                float64
		memory              int64
		wantCPU, wantMemory int64 // of a period of 100 ms; 0: none
	}{
		{"ilimits", 0.25, 64 << 20, 25_000, 64 << 20},
		{"inone", 0, 0, 0, 0},
		{"imany", 4096, 0, 100_000 * int64(runtime.NumCPU()), 0},
	} {
		s := spec(23, test.instance)
		s.CPUs, s.Memory = test.cpus, test.memory
		id := h.run(t, s)
		if got := h.limit(t, id, "cpu", "cpu.max", "cpu.cfs_quota_us"); got != test.wantCPU {
			t.Errorf("%s: CPU %d, want %d", test.instance, got, test.wantCPU)
		}
		if got := h.limit(t, id, "memory", "memory.max", "memory.limit_in_bytes"); got != test.wantMemory {
			t.Errorf("%s: memory %d, want %d", test.instance, got, test.wantMemory)
		}
		h.stop(t, id)
	}
}

// limit reads a limit of the container's control group, from a file of version 2 or from that of
// version 1. 0 is none.
func (h *testHost) limit(t *testing.T, id, controller, two, one string) int64 {
	t.Helper()
	groups, err := os.ReadFile(filepath.Join(h.proc(t, id), "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	file := ""
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case slices.Contains(strings.Split(parts[1], ","), controller):
			file = filepath.Join("/sys/fs/cgroup", controller, parts[2], one)
		case parts[0] == "0" && file == "":
			file = filepath.Join("/sys/fs/cgroup", parts[2], two)
		}
	}
	value, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Fields(string(value))[0]
	n, err := strconv.ParseInt(first, 10, 64)
	if first == "max" || n < 0 || n > 1<<60 { // as versions 2 and 1 write none
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// testHostPort checks that a fixed port is reached at every address of the host, and is listed.
func testHostPort(t *testing.T, h *testHost) {
	s := spec(24, "ihostport")
	s.HostPorts = map[Port]int{TCP(80): 8080}
	id := h.run(t, s)
	if c, _ := h.find(t, s.Instance); c.Ports[TCP(80)] != 8080 {
		t.Errorf("published %v", c.Ports)
	}
	for _, addr := range []string{h.IP().String(), "127.0.0.1"} {
		etcdtest.WaitFor(t, 10*time.Second, func() error { return dial(t, h, net.JoinHostPort(addr, "8080")) })
	}
	other := spec(25, "itaken")
	other.HostPorts = s.HostPorts
	second, err := h.engine.Create(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.engine.Start(t.Context(), second); err == nil || !strings.Contains(err.Error(), "8080") {
		t.Errorf("two containers have one port: %v", err)
	}
	h.stop(t, id)
	if err := h.engine.Start(t.Context(), second); err != nil {
		t.Errorf("the port is free again: %v", err)
	}
	h.stop(t, second)

	h.engine.PublicIP = "127.0.0.9" // for want of a second address
	defer func() { h.engine.PublicIP = "" }()
	s.Instance, s.Name = "ipublic", "dummy---nginx---next-ipublic"
	id = h.run(t, s)
	defer h.stop(t, id)
	for addr, want := range map[string]bool{h.IP().String(): true, "127.0.0.9": true, "127.0.0.1": false} {
		if !want {
			if dial(t, h, net.JoinHostPort(addr, "8080")) == nil {
				t.Errorf("published on %s too", addr)
			}
			continue
		}
		etcdtest.WaitFor(t, 10*time.Second, func() error { return dial(t, h, net.JoinHostPort(addr, "8080")) })
	}
	if c, _ := h.find(t, s.Instance); c.Ports[TCP(80)] != 8080 {
		t.Errorf("published %v", c.Ports)
	}
}

// testFiles checks that files are there with owner and mode when the container starts, and stay when
// it is restarted.
func testFiles(t *testing.T, h *testHost) {
	s := spec(26, "ifiles")
	s.Mounts = []Mount{mount(s, "files")}
	id, err := h.engine.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		h.stop(t, id)
		if err := h.engine.RemoveVolume(t.Context(), s.Mounts[0].Name); err != nil {
			t.Error(err)
		}
	}()
	files := []File{
		{Path: "/run/secrets/password", Mode: 0o400, UID: 101, GID: 102, Content: []byte("s3cret")},
		{Path: "/etc/nginx/mime.types", Mode: 0o644, Content: []byte("types {}")}, // in the image's place
		{Path: "/srv/files/of/volume", Mode: 0o640, Content: nil},
		{Path: "/new/dir/file with space", Mode: 0o755, Content: []byte(strings.Repeat("x", 1<<20))},
	}
	before := h.modes(t, id, "/etc", "/etc/nginx")
	for range 2 { // when it was not known whether it had been done
		if err := h.engine.Put(t.Context(), id, files); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := h.engine.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			path := h.inside(t, id, f.Path)
			info, err := os.Stat(path)
			if err != nil {
				t.Error(err)
				continue
			}
			content, err := os.ReadFile(path)
			owner := info.Sys().(*syscall.Stat_t)
			if err != nil || string(content) != string(f.Content) || int(info.Mode().Perm()) != f.Mode || int(owner.Uid) != f.UID || int(owner.Gid) != f.GID {
				t.Errorf("%s: %s of %d:%d with %d bytes, %v", f, info.Mode(), owner.Uid, owner.Gid, len(content), err)
			}
		}
		for _, dir := range []string{"/run/secrets", "/new/dir"} {
			if info, err := os.Stat(h.inside(t, id, dir)); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("directory %s: %v, %v", dir, info, err)
			}
		}
		if err := h.client.StopContainer(id, 1); err != nil {
			t.Fatal(err)
		}
	}
	if after := h.modes(t, id, "/etc", "/etc/nginx"); !slices.Equal(after, before) {
		t.Errorf("the image's directories were %v and are %v", before, after)
	}
	err = h.engine.Put(t.Context(), id, []File{{Path: "/etc/nginx", Content: []byte("s3cret")}})
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a file in a directory's place: %v", err)
	}
}

// modes are the modes of directories in the container, which is started for that.
func (h *testHost) modes(t *testing.T, id string, dirs ...string) (modes []os.FileMode) {
	t.Helper()
	if err := h.engine.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		info, err := os.Stat(h.inside(t, id, dir))
		if err != nil {
			t.Fatal(err)
		}
		modes = append(modes, info.Mode())
	}
	if err := h.client.StopContainer(id, 1); err != nil {
		t.Fatal(err)
	}
	return modes
}
