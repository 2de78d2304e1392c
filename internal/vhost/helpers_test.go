//go:build linux

package vhost

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// docker runs the Docker client on the host and returns what it wrote.
func docker(t *testing.T, h *Host, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", append([]string{"-H", h.DockerHost()}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// loadShell makes the image "shell" on the host out of the machine's own shell.
func loadShell(t *testing.T, h *Host) {
	t.Helper()
	files := []string{"/bin/sh", "/bin/sleep"}
	for _, program := range files {
		out, err := exec.CommandContext(t.Context(), "ldd", program).Output()
		if err != nil {
			t.Fatalf("ldd %s: %v", program, err)
		}
		for _, field := range strings.Fields(string(out)) {
			if strings.HasPrefix(field, "/") && !slices.Contains(files, field) {
				files = append(files, field)
			}
		}
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: file[1:], Mode: 0o755, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "docker", "-H", h.DockerHost(), "import", "-", "shell")
	cmd.Stdin = &image
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v: %s", err, out)
	}
}

// checkLimits reads the container's limits from the control groups of the kernel.
func checkLimits(t *testing.T, h *Host, id string) {
	t.Helper()
	memory, cpu := "/memory%/memory.limit_in_bytes", "/cpu%/cpu.cfs_quota_us"
	wantMemory, wantCPU := "67108864", "50000"
	if unified() {
		memory, cpu, wantCPU = "%/memory.max", "%/cpu.max", "50000 100000"
	}
	for file, want := range map[string]string{memory: wantMemory, cpu: wantCPU} {
		file = cgroupRoot + strings.Replace(file, "%", string(h.cgroup())+"/"+id, 1)
		got, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		if strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q, want %q", filepath.Base(file), got, want)
		}
	}
}

func enginePid(t *testing.T, h *Host) int {
	t.Helper()
	pids, err := h.dockerPids()
	if err != nil || len(pids) != 1 {
		t.Fatalf("engine's processes: %v, %v", pids, err)
	}
	return pids[0]
}

// serve accepts connections on the host until the test ends.
func serve(t *testing.T, h *Host, addr string) {
	t.Helper()
	l, err := h.Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l)
}

func accept(t *testing.T, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello") // the client sees if it fails
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

func dialMachine(ctx context.Context, addr string) error {
	return greeting(ctx, new(net.Dialer).DialContext, addr)
}

func dialFrom(ctx context.Context, h *Host, addr string) error { return greeting(ctx, h.Dial, addr) }

func greeting(ctx context.Context, dial func(ctx context.Context, network, addr string) (net.Conn, error), addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, len("hello")))
	return err
}

func reaches(t *testing.T, who string, dial func() error) {
	t.Helper()
	eventually(t, who+" connects", dial)
}

func fails(t *testing.T, who string, dial func() error) {
	t.Helper()
	if dial() == nil {
		t.Errorf("%s connects, it must not", who)
	}
}

// eventually tries until f succeeds, for 20 seconds.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var last error
	if wait(ctx, 50*time.Millisecond, func() (bool, error) { last = f(); return last == nil, nil }) != nil {
		t.Fatalf("%s: %v", what, last)
	}
}

// dialAsNobody connects from the machine as a user who is not root.
func dialAsNobody(ctx context.Context, addr string) error {
	cmd := exec.CommandContext(ctx, "bash", "-c", "exec 3<>/dev/tcp/"+strings.Replace(addr, ":", "/", 1))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd.Run()
}
