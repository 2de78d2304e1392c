//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine is what was measured on.
type machine struct {
	processor, kernel, revision, load string

	engine string // version of Docker on the virtual hosts
	cores  int
	memory uint64
	at     time.Time
}

func describeMachine(ctx context.Context) (m machine, err error) {
	m = machine{cores: runtime.NumCPU(), at: time.Now().UTC()}
	for file, into := range map[string]*string{"/proc/sys/kernel/osrelease": &m.kernel, "/proc/loadavg": &m.load, "/proc/cpuinfo": &m.processor} {
		data, err := os.ReadFile(file)
		if err != nil {
			return m, fmt.Errorf("describe machine: %w", err)
		}
		*into = strings.TrimSpace(string(data))
	}
	m.load, _, _ = strings.Cut(m.load, " ")
	m.processor = valueOf(m.processor, "model name")
	if m.memory, err = kilobytes("/proc/meminfo", "MemTotal:"); err != nil {
		return m, err
	}
	out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return m, fmt.Errorf("describe machine: git describe: %w", err)
	}
	m.revision = strings.TrimSpace(string(out))
	return m, nil
}

// valueOf finds the first "name : value" in a text.
func valueOf(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

func (m machine) markdown() string {
	return fmt.Sprintf("%s, %d cores, %.0f GB; Linux %s; Docker Engine %s; revision %s; %s; load at the start %s.",
		m.processor, m.cores, float64(m.memory)/1e9, m.kernel, m.engine, m.revision, m.at.Format("2 January 2006 15:04 UTC"), m.load)
}
