package udp

import "golang.org/x/sys/unix"

// reportErrors has the socket tell also of hosts that can't be reached, not only of closed ports. It
// fails only on what is no such socket.
func reportErrors(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1) // of one of IPv6
}
