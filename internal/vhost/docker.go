//go:build linux

package vhost

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	dockerTimeout = 90 * time.Second // an engine's first start on a slow disk
	pingTimeout   = 5 * time.Second
)

//go:embed init.sh
var initScript []byte

// engineConfig is the engine's configuration file. The machine's own is not read.
type engineConfig struct {
	DataRoot     string            `json:"data-root"`
	ExecRoot     string            `json:"exec-root"`
	Pidfile      string            `json:"pidfile"`
	LiveRestore  bool              `json:"live-restore"` // containers outlive the engine
	CgroupParent string            `json:"cgroup-parent"`
	ExecOpts     []string          `json:"exec-opts"`
	Insecure     []string          `json:"insecure-registries"` // one on the virtual network needs no certificate
	LogDriver    string            `json:"log-driver"`
	LogOpts      map[string]string `json:"log-opts"`
	BridgeIP     string            `json:"bip"`
	AddressPools []addressPool     `json:"default-address-pools"`
}

type addressPool struct {
	Base string `json:"base"`
	Size int    `json:"size"`
}

func (h *Host) engineConfig() engineConfig {
	return engineConfig{
		DataRoot:     h.file("data"),
		ExecRoot:     "/run/docker",
		Pidfile:      "/run/docker.pid",
		LiveRestore:  !h.cluster.noLiveRestore,
		CgroupParent: string(h.cgroup()),
		// The other driver, systemd's, would put containers where the host is not.
		ExecOpts:     []string{"native.cgroupdriver=cgroupfs"},
		Insecure:     []string{h.cluster.subnet.String()},
		LogDriver:    "json-file",
		LogOpts:      map[string]string{"max-size": "10m", "max-file": "3"},
		BridgeIP:     bridgeIP.String(),
		AddressPools: []addressPool{{Base: networkPool.String(), Size: 24}},
	}
}

// dockerCommand is the engine's command line. Its socket comes from the first process.
func (h *Host) dockerCommand() []string {
	return []string{"dockerd", "--config-file", h.file("daemon.json"), "--host", "fd://"}
}

// writeFiles writes what the first process and the engine read.
func (h *Host) writeFiles() error {
	if err := os.MkdirAll(h.dir(), 0o711); err != nil {
		return fmt.Errorf("make directory of host: %w", err)
	}
	config, err := json.MarshalIndent(h.engineConfig(), "", "  ")
	if err != nil {
		return fmt.Errorf("write engine's configuration: %w", err)
	}
	resolv, err := resolvConf()
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"init.sh": initScript, "daemon.json": config, "resolv.conf": resolv} {
		if err := os.WriteFile(h.file(name), data, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// StartDocker starts the engine of a host that is on, if KillDocker ended it, and waits until it
// answers. The error of one that does not has the end of its log.
func (h *Host) StartDocker(ctx context.Context) error {
	if err := os.Remove(h.file("docker.off")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("start engine of host %s: %w", h.IP(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, dockerTimeout)
	defer cancel()
	var last error
	err := wait(ctx, 100*time.Millisecond, func() (bool, error) {
		last = h.ping(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("start engine of host %s: %w\nThe end of %s:\n%s", h.IP(), last, h.LogFile(), h.logTail(15))
	}
	return nil
}

// ping asks the engine whether it serves.
func (h *Host) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.Socket())
		},
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// KillDocker kills the engine, which stays down until StartDocker or PowerOn. Containers live on.
func (h *Host) KillDocker(ctx context.Context) error {
	if err := os.WriteFile(h.file("docker.off"), nil, 0o644); err != nil {
		return fmt.Errorf("kill engine of host %s: %w", h.IP(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	return wait(ctx, 20*time.Millisecond, func() (bool, error) {
		pids, err := h.dockerPids()
		if err != nil || len(pids) == 0 {
			return err == nil, err
		}
		return false, h.signalDocker(syscall.SIGKILL)
	})
}

// PauseDocker stops the engine without ending it: it accepts and does not answer. On a busy machine
// its threads go on for a moment after the signal, which is waited for.
func (h *Host) PauseDocker() error {
	if err := h.signalDocker(syscall.SIGSTOP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return wait(ctx, time.Millisecond, func() (bool, error) {
		pids, err := h.dockerPids()
		return err == nil && !slices.ContainsFunc(pids, goesOn), err
	})
}

// goesOn tells whether a thread of the process is not stopped.
func goesOn(pid int) bool {
	files, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat")) // the pattern is right
	for _, file := range files {
		data, err := os.ReadFile(file) // one that cannot be read has ended
		_, state, _ := strings.Cut(string(data), ") ")
		if err == nil && !strings.HasPrefix(state, "T") {
			return true
		}
	}
	return false
}

// ResumeDocker ends PauseDocker.
func (h *Host) ResumeDocker() error { return h.signalDocker(syscall.SIGCONT) }

// dockerPids are the processes of the engine itself, one at most but for moments.
func (h *Host) dockerPids() ([]int, error) {
	pids, err := h.daemonCgroup().pids()
	if err != nil {
		return nil, fmt.Errorf("find engine of host %s: %w", h.IP(), err)
	}
	var found []int
	for _, pid := range pids {
		if commandName(pid) == "dockerd" {
			found = append(found, pid)
		}
	}
	return found, nil
}

// logTail is the end of the engine's log.
func (h *Host) logTail(lines int) string {
	data, err := os.ReadFile(h.LogFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// commandName is the name of a process, "" if it has ended.
func commandName(pid int) string {
	// Unreadable means ended: the caller is root.
	data, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return strings.TrimSpace(string(data))
}

// resolvConf is the machine's resolver configuration without the servers that only the machine
// itself reaches.
func resolvConf() ([]byte, error) {
	// Where systemd-resolved writes the servers behind its own 127.0.0.53.
	for _, file := range []string{"/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"} {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read nameservers: %w", err)
		}
		var kept strings.Builder
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) == 2 && fields[0] == "nameserver" {
				addr, err := netip.ParseAddr(fields[1])
				if err != nil || addr.IsLoopback() || addr.Is6() {
					continue // the hosts have IPv4 only
				}
			}
			kept.WriteString(line)
		}
		return []byte(kept.String()), nil
	}
	return nil, nil
}
