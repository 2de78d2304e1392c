//go:build linux

package vhosttest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	atOnce     = 2048                   // connects under way; ten may scan at a time with 20,000 descriptors
	noAnswerIn = 500 * time.Millisecond // since the last of them began: a firewall's drop
)

// scanning are the batches under way: a process may have so many files open.
var scanning = make(chan struct{}, 3)

// Scan returns the TCP ports of the address, among those given, that accept a connection, in order.
// It makes all its sockets on the thread that calls it, whatever network that is in. The zone of an
// address is the name of a link there.
func Scan(addr netip.Addr, ports []uint16) (open []uint16, err error) {
	for batch := range slices.Chunk(ports, atOnce) {
		found, err := scanBatch(addr, batch)
		if err != nil {
			return nil, fmt.Errorf("scan %s: %w", addr, err)
		}
		open = append(open, found...)
	}
	slices.Sort(open)
	return open, nil
}

func scanBatch(addr netip.Addr, ports []uint16) (open []uint16, err error) {
	scanning <- struct{}{}
	defer func() { <-scanning }()
	var waiting []unix.PollFd
	of := map[int32]uint16{}
	defer func() {
		for fd := range of {
			_ = unix.Close(int(fd)) // nothing was sent
		}
	}()
	for _, port := range ports {
		family, to, err := socketAddress(addr, port)
		if err != nil {
			return nil, err
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		of[int32(fd)] = port
		switch err := unix.Connect(fd, to); {
		case err == nil:
			open = append(open, port)
		case errors.Is(err, unix.EINPROGRESS):
			waiting = append(waiting, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
		}
	}
	for deadline := time.Now().Add(noAnswerIn); len(waiting) > 0 && time.Now().Before(deadline); {
		if _, err := unix.Poll(waiting, int(time.Until(deadline)/time.Millisecond)+1); err != nil && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		waiting = slices.DeleteFunc(waiting, func(p unix.PollFd) bool {
			if p.Revents == 0 {
				return false
			}
			// Whoever resets a connection had accepted it.
			if code, err := unix.GetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && (code == 0 || code == int(unix.ECONNRESET)) {
				open = append(open, of[p.Fd])
			}
			return true
		})
	}
	return open, nil
}

func socketAddress(addr netip.Addr, port uint16) (family int, to unix.Sockaddr, err error) {
	if addr.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(port), Addr: addr.As4()}, nil
	}
	six := &unix.SockaddrInet6{Port: int(port), Addr: addr.As16()}
	if zone := addr.Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return 0, nil, err
		}
		six.ZoneId = uint32(link.Index)
	}
	return unix.AF_INET6, six, nil
}

// AllPorts are all that there are.
func AllPorts() []uint16 {
	all := make([]uint16, 0, 1<<16-1)
	for port := range uint16(1<<16 - 1) {
		all = append(all, port+1)
	}
	return all
}
