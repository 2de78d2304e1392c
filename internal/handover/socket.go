package handover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Kinds of sockets.
const (
	TCP = "tcp" // listens for connections
	UDP = "udp" // is sent datagrams

	postKind = "post" // hears heirs
)

// Name says what a socket is for.
type Name struct {
	Kind string         `json:"kind"`
	Addr netip.AddrPort `json:"addr"`
}

// Socket is a descriptor of an open socket. It is not known to Go's runtime, which would be woken
// by what happens at the socket, though others are to look after it.
type Socket struct {
	Name
	fd int
}

// Of returns another descriptor of a socket, which has to be closed on its own.
func Of(name Name, of syscall.Conn) (Socket, error) {
	raw, err := of.SyscallConn()
	if err != nil {
		return Socket{}, fmt.Errorf("copy socket %s: %w", name.Addr, err)
	}
	s := Socket{Name: name}
	var failure error
	err = raw.Control(func(fd uintptr) {
		s.fd, failure = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, failure); err != nil {
		return Socket{}, fmt.Errorf("copy socket %s: %w", name.Addr, err)
	}
	return s, nil
}

// Copy returns another descriptor of the socket.
func (s Socket) Copy() (Socket, error) {
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return Socket{}, fmt.Errorf("copy socket %s: %w", s.Addr, err)
	}
	return Socket{Name: s.Name, fd: fd}, nil
}

// Listener returns the socket as a listener, with a descriptor of its own.
func (s Socket) Listener() (*net.TCPListener, error) {
	own, err := s.Copy()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(own.fd), s.Addr.String())
	defer file.Close() // the listener has its own
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listen with socket %s: %w", s.Addr, err)
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok || tcp.Addr().(*net.TCPAddr).AddrPort() != s.Addr {
		return nil, errors.Join(fmt.Errorf("listen with socket %s: it is one of %s", s.Addr, listener.Addr()), listener.Close())
	}
	return tcp, nil
}

// PacketConn returns the socket for datagrams, with a descriptor of its own.
func (s Socket) PacketConn() (*net.UDPConn, error) {
	own, err := s.Copy()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(own.fd), s.Addr.String())
	defer file.Close() // the connection has its own
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("receive with socket %s: %w", s.Addr, err)
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok || udp.LocalAddr().(*net.UDPAddr).AddrPort() != s.Addr {
		return nil, errors.Join(fmt.Errorf("receive with socket %s: it is one of %s", s.Addr, conn.LocalAddr()), conn.Close())
	}
	return udp, nil
}

// post returns the socket as a post, with a descriptor of its own.
func (s Socket) post() (*net.UnixListener, error) {
	own, err := s.Copy()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(own.fd), postKind)
	defer file.Close() // the listener has its own
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listen with the post: %w", err)
	}
	place, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(errors.New("listen with the post: it is none"), listener.Close())
	}
	return place, nil
}

// Close gives the descriptor back.
func (s Socket) Close() {
	_ = unix.Close(s.fd) // nothing was written to it
}

func closeAll(sockets []Socket) {
	for _, s := range sockets {
		s.Close()
	}
}
