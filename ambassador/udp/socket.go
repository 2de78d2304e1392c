package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is connected to a backend's endpoint.
type socket struct {
	endpoint netip.AddrPort
	conn     *net.UDPConn
	raw      syscall.RawConn
}

func dial(endpoint netip.AddrPort) (*socket, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(endpoint))
	if err != nil {
		return nil, err // names the address itself
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(reportErrors)
	}
	if err != nil {
		_ = conn.Close() // nothing was written to it
		return nil, err
	}
	return &socket{endpoint, conn, raw}, nil
}

func (s *socket) close() {
	_ = s.conn.Close() // nothing is lost that could be kept
}

// send sends a datagram without waiting for room: what does not fit is lost, as on any other way.
func (s *socket) send(b []byte) (err error) {
	failure := s.raw.Write(func(fd uintptr) bool {
		err = unix.Send(int(fd), b, 0)
		if errors.Is(err, unix.EMSGSIZE) { // that was an earlier one; the kernel sends this in parts
			err = unix.Send(int(fd), b, 0)
		}
		return true
	})
	return errors.Join(failure, err)
}

// buffers are for datagrams that are just there: flows that wait for one need none.
var buffers = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// receive hands each datagram of the endpoint to handle, which must not keep it, until the socket is
// closed or the endpoint refuses.
func (s *socket) receive(handle func([]byte)) error {
	var (
		buffer  *[maxDatagram]byte
		n       int
		failure error
	)
	read := func(fd uintptr) bool {
		buffer = buffers.Get().(*[maxDatagram]byte)
		if n, failure = unix.Read(int(fd), buffer[:]); failure != nil {
			buffers.Put(buffer)
		}
		return !errors.Is(failure, unix.EAGAIN)
	}
	for {
		switch err := s.raw.Read(read); {
		case err != nil:
			return err
		case failure == nil:
			handle(buffer[:n]) // which may close the socket: read may not
			buffers.Put(buffer)
		case refuses(failure):
			return failure
		}
	}
}

// refuses tells whether the error of a socket says that its endpoint can't be reached. Others are
// passing ones of this host.
func refuses(err error) bool {
	for _, errno := range []unix.Errno{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
