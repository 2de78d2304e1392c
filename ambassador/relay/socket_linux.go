package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file do not block, so they are made without telling the scheduler: that is
// a good part of what package net costs. An Errno of 0 is success.

// accept takes a connection off the listener's queue.
func accept(listener int) (fd int, source netip.Addr, errno unix.Errno) {
	var from unix.RawSockaddrInet6 // the larger of the two
	size := uint32(unsafe.Sizeof(from))
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, source, errno
	}
	if from.Family == unix.AF_INET {
		return int(n), netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&from)).Addr), 0
	}
	return int(n), netip.AddrFrom16(from.Addr).Unmap(), 0
}

// connect begins to dial. The socket may hold a second write back until the first was acknowledged: see prompt.
func connect(addr netip.AddrPort) (fd int, errno unix.Errno) {
	family, ip := unix.AF_INET6, addr.Addr()
	if ip.Is4() {
		family = unix.AF_INET
	}
	n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return -1, errno
	}
	fd = int(n)
	var port uint16
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&port))[:], addr.Port())
	if family == unix.AF_INET {
		to := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: ip.As4()}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, n, uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
	} else {
		to := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: ip.As16()}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, n, uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
	}
	if errno != 0 && errno != unix.EINPROGRESS {
		closeSocket(fd)
		return -1, errno
	}
	return fd, 0
}

// dialError is what package net would say.
func dialError(addr netip.AddrPort, errno unix.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: os.NewSyscallError("connect", errno)}
}

// receive reads what is there; nothing at the end of the stream.
func receive(fd int, into []byte) (n int, errno unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)), 0, 0, 0)
	return int(r), errno
}

// send writes what there is room for.
func send(fd int, b []byte) (n int, errno unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return int(r), errno
}

// move carries up to n bytes between a socket and a pipe within the kernel.
func move(from, to, n int) (moved int, errno unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(r), errno
}

// endWriting tells the peer that nothing more will come.
func endWriting(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return errno
}

func closeSocket(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// resetSocket closes it so that the peer sees a reset.
func resetSocket(fd int) {
	abort := unix.Linger{Onoff: 1}
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&abort)), unsafe.Sizeof(abort), 0)
	closeSocket(fd)
}

// setOption fails only on what is no TCP socket.
func setOption(fd, level, name, value int) {
	v := int32(value)
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
}

// prompt has a socket send at once whatever is written. The first write does so anyway.
func prompt(fd int) { setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// failure takes the error that waits on the socket.
func failure(fd int) unix.Errno {
	var errno int32
	size := uint32(unsafe.Sizeof(errno))
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR, uintptr(unsafe.Pointer(&errno)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return e
	}
	return unix.Errno(errno)
}

// keepAlive has the kernel notice a peer that vanished, as KeepAlive says.
func keepAlive(fd int) {
	setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(KeepAlive.Idle.Seconds()))
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(KeepAlive.Interval.Seconds()))
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, KeepAlive.Count)
}

// takeOver returns a descriptor of the connection, or of the listener, and closes the Go side of it.
func takeOver(of interface {
	syscall.Conn
	Close() error
}) (fd int, err error) {
	defer func() {
		_ = of.Close() // the connection goes on with the other descriptor
	}()
	raw, err := of.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failure error
	err = raw.Control(func(old uintptr) {
		fd, failure = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, os.NewSyscallError("dup", failure)); err != nil {
		return -1, err
	}
	return fd, nil
}
