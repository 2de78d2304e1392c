//go:build linux

package vhost

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Within runs f with its operating system thread in the network of a process of the machine, such
// as a container, by the number that the process has there; 0 is the machine itself. Sockets that f
// makes belong to that network for good.
func (m *Machine) Within(pid int, f func() error) error {
	if pid == 0 {
		return inNamespace(m.host.namespace(), f)
	}
	init, err := m.firstProcess()
	if err != nil {
		return err
	}
	return inNamespaceOf(filepath.Join("/proc", strconv.Itoa(init), "root/proc", strconv.Itoa(pid), "ns/net"), f)
}

// firstProcess is this machine's number of the process that is the first one there.
func (m *Machine) firstProcess() (int, error) {
	pids, err := m.host.cgroup().pids()
	if err != nil {
		return 0, fmt.Errorf("look for the first process of machine %s: %w", m.IP(), err)
	}
	for _, pid := range pids {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err != nil {
			continue // it has ended
		}
		_, numbers, _ := strings.Cut(string(status), "\nNSpid:")
		numbers, _, _ = strings.Cut(numbers, "\n")
		// From here and from there; a container's has a third one.
		if fields := strings.Fields(numbers); len(fields) == 2 && fields[1] == "1" {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("machine %s has no first process", m.IP())
}
