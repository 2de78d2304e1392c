package ambassador

import "golang.org/x/sys/unix"

// freeBind lets the socket be bound to an address that the host does not have yet.
func freeBind(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1) }
