//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// spoofed is the exit code of who got through with an address that is not its own.
const spoofed = 6

// spoof tries what a program can to call from another's address. It errs with what it managed.
func spoof(ambassador netip.AddrPort, victim netip.Addr) (code int, err error) {
	var done []error
	for name, try := range map[string]func() error{
		"opened a raw socket":    func() error { return open(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP) },
		"opened a packet socket": func() error { return open(unix.AF_PACKET, unix.SOCK_RAW, 0) },
		"connected":              func() error { return callFrom(ambassador, victim, unix.SOCK_STREAM, unix.IP_FREEBIND) },
		"sent a datagram":        func() error { return callFrom(ambassador, victim, unix.SOCK_DGRAM, unix.IP_FREEBIND) },
		"connected as a router":  func() error { return callFrom(ambassador, victim, unix.SOCK_STREAM, unix.IP_TRANSPARENT) },
		"took the address":       takeAddress,
	} {
		if err := try(); err == nil {
			done = append(done, errors.New(name))
		} else {
			fmt.Println(name+":", err)
		}
	}
	if len(done) > 0 {
		return spoofed, errors.Join(done...)
	}
	return 0, nil
}

func open(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// callFrom connects, or sends, from an address that is bound by way of the option.
func callFrom(ambassador netip.AddrPort, victim netip.Addr, kind, option int) error {
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, option, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: victim.As4()}); err != nil {
		return err
	}
	to := &unix.SockaddrInet4{Addr: ambassador.Addr().As4(), Port: int(ambassador.Port())}
	if kind == unix.SOCK_DGRAM {
		return unix.Sendto(fd, []byte("x"), 0, to)
	}
	return unix.Connect(fd, to)
}

// takeAddress does what comes before another address on an interface: it asks to change one.
func takeAddress() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("eth0")
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr([]byte{172, 30, 0, 62}); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request)
}
