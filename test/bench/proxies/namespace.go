//go:build linux

package proxies

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// request is the variable in which a process finds what to measure for the one that started it.
const request = "DOKKAA_BENCH_PROXIES"

// Measure has another process of this program measure everything that the options want, in a network
// namespace of its own. The program has to call Serve first. It needs root, haproxy, nginx with its
// stream module, and wrk, and errs with exec.ErrNotFound where one of them is not there.
func Measure(ctx context.Context, o Options, progress io.Writer) (r Results, err error) {
	for _, tool := range []string{"haproxy", "nginx", "wrk"} {
		if _, err := exec.LookPath(tool); err != nil {
			return r, err
		}
	}
	options, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	process := exec.CommandContext(ctx, self)
	process.Env = append(os.Environ(), request+"="+string(options))
	process.Stderr = progress
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	process.Cancel = func() error { return process.Process.Signal(os.Interrupt) } // it has others to end
	process.WaitDelay = time.Minute
	out, err := process.Output()
	if err != nil {
		return r, fmt.Errorf("measure proxies: %w", err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("read what was measured of proxies: %w", err)
	}
	return r, nil
}

// Serve measures if this process was started by Measure, and says whether it was.
func Serve(ctx context.Context) (served bool, err error) {
	text := os.Getenv(request)
	if text == "" {
		return false, nil
	}
	if err := os.Unsetenv(request); err != nil {
		return true, err
	}
	var o Options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return true, err
	}
	if err := furnish(ctx); err != nil {
		return true, err
	}
	r, err := measure(ctx, o, os.Stderr)
	if err != nil {
		return true, err
	}
	return true, json.NewEncoder(os.Stdout).Encode(r)
}

// furnish makes an empty network namespace fit for more connections in a second than there are ports:
// the kernel would keep each port for a minute.
func furnish(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	for key, value := range map[string]string{
		"tcp_max_tw_buckets":  "1000",
		"ip_local_port_range": "10000 60999",
	} {
		if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4", key), []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}
