package skydns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// firstPassed is the first file descriptor that systemd passes.
const firstPassed = 3

// passedSockets are the sockets that systemd opened for this process, none if it did not start it
// so (sd_listen_fds(3)). It must be called once only: the descriptors belong to the files.
func passedSockets(getenv func(string) string, pid int) ([]*os.File, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return nil, fmt.Errorf("read LISTEN_FDS: %q is not a number of sockets", getenv("LISTEN_FDS"))
	}
	var files []*os.File
	for fd := firstPassed; fd < firstPassed+n; fd++ {
		syscall.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd)))
	}
	return files, nil
}

// reopen returns a socket of its own for what was passed: UDP, or TCP that listens. The file stays
// open, for the next server.
func reopen(file *os.File) (sockets, error) {
	if conn, err := net.FilePacketConn(file); err == nil {
		if udp, ok := conn.(*net.UDPConn); ok {
			return sockets{udp: udp}, nil
		}
		return sockets{}, errors.Join(fmt.Errorf("take over %s: it is neither UDP nor TCP", file.Name()), conn.Close())
	}
	listener, err := net.FileListener(file)
	if err != nil {
		return sockets{}, fmt.Errorf("take over %s: %w", file.Name(), err)
	}
	if tcp, ok := listener.(*net.TCPListener); ok {
		return sockets{tcp: tcp}, nil
	}
	return sockets{}, errors.Join(fmt.Errorf("take over %s: it is neither UDP nor TCP", file.Name()), listener.Close())
}
