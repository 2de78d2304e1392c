//go:build linux

package proxies

import (
	"bytes"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// What the backends do, by the offset of their port.
const (
	echoes = iota
	answersHTTP
	swallows
	pours
	kinds
)

const backendPort = 24610 // of the first kind, on every loopback address

// httpAnswer is the page, for a request that fits one packet.
const httpAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n"

// startBackends serves every kind until stop is called.
func startBackends() (stop func(), err error) {
	var group sync.WaitGroup
	var listeners []*net.TCPListener
	var loops []*backendLoop
	stop = func() {
		for _, l := range listeners {
			l.Close()
		}
		for _, l := range loops {
			l.stop()
		}
		group.Wait()
	}
	for kind := range kinds {
		switch kind {
		case echoes, answersHTTP:
			l, err := newBackendLoop(backendPort+kind, kind)
			if err != nil {
				stop()
				return nil, err
			}
			loops = append(loops, l)
			group.Go(l.run)
		default:
			l, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: backendPort + kind})
			if err != nil {
				stop()
				return nil, err
			}
			listeners = append(listeners, l)
			group.Go(func() { serveBulk(l, kind, &group) })
		}
	}
	return stop, nil
}

// serveBulk reads all that comes, or writes until the other side has enough.
func serveBulk(l *net.TCPListener, kind int, group *sync.WaitGroup) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return
		}
		group.Go(func() {
			defer conn.Close()
			do := conn.Read
			if kind == pours {
				do = conn.Write
			}
			for block := make([]byte, bulkBlock); ; {
				if n, err := do(block); err != nil || n == 0 {
					return
				}
			}
		})
	}
}

// backendLoop echoes, or answers requests, in one thread.
type backendLoop struct {
	kind, poll, listener int
	// open are the connections' descriptors. A process that is being started holds copies of them for a
	// moment, so that events of one that was closed still come: its number may be another file's by then.
	open map[int]bool
}

func newBackendLoop(port, kind int) (*backendLoop, error) {
	l := &backendLoop{kind: kind, open: map[int]bool{}}
	var err error
	if l.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(l.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	if err := unix.Bind(l.listener, &unix.SockaddrInet4{Port: port}); err != nil {
		return nil, err
	}
	if err := unix.Listen(l.listener, 65535); err != nil {
		return nil, err
	}
	return l, l.watch(l.listener, unix.EPOLLIN)
}

func (l *backendLoop) watch(fd int, events uint32) error {
	return unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// stop has run end, by the end of the listener.
func (l *backendLoop) stop() { _ = unix.Shutdown(l.listener, unix.SHUT_RDWR) }

func (l *backendLoop) run() {
	events := make([]unix.EpollEvent, 256)
	buffer := make([]byte, 16<<10)
	defer unix.Close(l.poll)
	defer unix.Close(l.listener)
	for {
		n, err := unix.EpollWait(l.poll, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); {
			case l.open[fd]:
				l.serve(fd, buffer)
			case fd == l.listener && e.Events&unix.EPOLLHUP != 0:
				return
			case fd == l.listener:
				l.accept()
			}
		}
	}
}

func (l *backendLoop) accept() {
	for range 16 {
		fd, _, err := unix.Accept4(l.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // it is a socket
		l.open[fd] = true
		if l.watch(fd, unix.EPOLLIN) != nil {
			l.close(fd)
		}
	}
}

func (l *backendLoop) serve(fd int, buffer []byte) {
	n, err := unix.Read(fd, buffer)
	if err == unix.EAGAIN {
		return
	}
	if err != nil || n == 0 {
		l.close(fd)
		return
	}
	answer := buffer[:n]
	if l.kind == answersHTTP {
		answer = bytes.Repeat([]byte(httpAnswer), bytes.Count(answer, []byte("\r\n\r\n")))
	}
	if _, err := unix.Write(fd, answer); err != nil { // so little always fits
		l.close(fd)
	}
}

func (l *backendLoop) close(fd int) {
	delete(l.open, fd)
	unix.Close(fd)
}

// backends are endpoints of a kind, all of them the same server.
func backends(kind, from, n int) (all []netip.AddrPort) {
	for i := from; i < from+n; i++ {
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 2, byte(i >> 8), byte(i)}), uint16(backendPort+kind)))
	}
	return all
}
