//go:build linux

package proxies

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	callerCount = 50 // addresses that the load comes from
	bulkBlock   = 256 << 10
	stuck       = 5 * time.Second // after which a load is given up
)

// figures are what a load measured.
type figures struct {
	Rate float64       // per second
	Each time.Duration // processor time of the proxy
	P99  time.Duration
}

// exchange is one connection of the load: a byte there and back.
type exchange struct {
	fd     int
	caller int
	begun  time.Time
	wrote  bool
}

// exchanger does exchanges, so many at a time, in one thread.
type exchanger struct {
	from  callers
	to    netip.AddrPort
	fresh bool // a new connection for each
	poll  int
	byFD  map[int]*exchange
	took  []time.Duration
}

// exchangeFor exchanges bytes for a while.
func exchangeFor(from callers, to netip.AddrPort, conns int, fresh bool, while time.Duration) (perSecond float64, p99 time.Duration, err error) {
	x := &exchanger{from: from, to: to, fresh: fresh, byFD: make(map[int]*exchange)}
	if x.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return 0, 0, err
	}
	defer unix.Close(x.poll)
	defer func() {
		for fd := range x.byFD {
			unix.Close(fd)
		}
	}()
	begun := time.Now()
	for i := range conns {
		if err := x.begin(&exchange{caller: i}); err != nil {
			return 0, 0, err
		}
	}
	events := make([]unix.EpollEvent, 256)
	for time.Since(begun) < while {
		n, err := unix.EpollWait(x.poll, events, int(stuck.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return 0, 0, err
		}
		if n == 0 {
			return 0, 0, fmt.Errorf("%s does not answer", to)
		}
		for i := range max(n, 0) {
			e := x.byFD[int(events[i].Fd)]
			if e == nil {
				continue // closed, see backendLoop.open
			}
			if err := x.handle(e); err != nil {
				return 0, 0, err
			}
		}
	}
	lasted := time.Since(begun)
	slices.Sort(x.took)
	return float64(len(x.took)) / lasted.Seconds(), x.took[len(x.took)*99/100], nil
}

// begin connects from the next caller's address, and writes.
func (x *exchanger) begin(e *exchange) (err error) {
	e.begun, e.wrote = time.Now(), false
	e.caller = (e.caller + 1) % callerCount
	if e.fd, err = dialFrom(x.from(e.caller), x.to); err != nil {
		return err
	}
	x.byFD[e.fd] = e
	if err := x.write(e); err != nil {
		return err
	}
	events := uint32(unix.EPOLLIN)
	if !e.wrote {
		events |= unix.EPOLLOUT | unix.EPOLLET
	}
	return unix.EpollCtl(x.poll, unix.EPOLL_CTL_ADD, e.fd, &unix.EpollEvent{Events: events, Fd: int32(e.fd)})
}

func (x *exchanger) write(e *exchange) error {
	_, err := unix.Write(e.fd, []byte("x"))
	if err == unix.EAGAIN {
		return nil
	}
	e.wrote = err == nil
	return os.NewSyscallError("write", err)
}

func (x *exchanger) handle(e *exchange) error {
	if !e.wrote {
		if err := x.write(e); err != nil {
			return err
		}
	}
	var b [8]byte
	n, err := unix.Read(e.fd, b[:])
	switch {
	case err == unix.EAGAIN:
		return nil
	case err != nil:
		return os.NewSyscallError("read", err)
	case n == 0:
		return fmt.Errorf("%s ended the connection", x.to)
	}
	x.took = append(x.took, time.Since(e.begun))
	if !x.fresh {
		e.begun = time.Now()
		return x.write(e)
	}
	delete(x.byFD, e.fd)
	unix.Close(e.fd)
	return x.begin(e)
}

// dialFrom begins to connect, from an address and a port that others may use at the same time.
func dialFrom(from netip.Addr, to netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return -1, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}); err != nil {
		return -1, os.NewSyscallError("bind", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// bulkFor carries as much as it can for a while, up or down. The rate is in bits.
func bulkFor(ctx context.Context, from callers, to netip.AddrPort, streams int, up bool, while time.Duration) (perSecond float64, err error) {
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for i := range streams {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from(i), 0))}
		conn, err := dialer.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return 0, err
		}
		conns = append(conns, conn)
	}
	begun := time.Now()
	counts := make([]int, streams)
	var group sync.WaitGroup
	for i, conn := range conns {
		if err := conn.SetDeadline(begun.Add(while)); err != nil {
			return 0, err
		}
		do := conn.Read
		if up {
			do = conn.Write
		}
		group.Go(func() {
			for block := make([]byte, bulkBlock); ; {
				n, err := do(block)
				counts[i] += n
				if err != nil {
					return
				}
			}
		})
	}
	group.Wait()
	lasted := time.Since(begun)
	if lasted < while/2 {
		return 0, fmt.Errorf("%s ended a stream after %v", to, lasted)
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	return 8 * float64(total) / lasted.Seconds(), nil
}

// requestsFor has wrk ask for the page for a while, with 64 connections from the machine's own address.
func requestsFor(ctx context.Context, to netip.AddrPort, while time.Duration) (perSecond float64, p99 time.Duration, err error) {
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c64", "--latency", "-d"+strconv.Itoa(max(1, int(while.Seconds()))),
		"http://"+to.String()+"/").Output()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "Requests/sec:":
			if perSecond, err = strconv.ParseFloat(fields[1], 64); err != nil {
				return 0, 0, err
			}
		case len(fields) == 2 && fields[0] == "99%":
			if p99, err = time.ParseDuration(fields[1]); err != nil {
				return 0, 0, err
			}
		case strings.Contains(line, "Socket errors"):
			return 0, 0, fmt.Errorf("wrk: %s", line)
		}
	}
	return perSecond, p99, nil
}

// openIdle opens connections that carried a byte each way, and returns how many were served: no more
// are tried after one that is not.
func openIdle(to netip.AddrPort, n int) (opened int, closeAll func(), err error) {
	var fds []int
	closeAll = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	for i := range n {
		fd, err := dialFrom(onLoopback(i%callerCount), to)
		if err != nil {
			return 0, closeAll, err
		}
		fds = append(fds, fd)
		if !served(fd) {
			break
		}
		opened++
	}
	return opened, closeAll, nil
}

// served sends a byte and waits for it to come back.
func served(fd int) bool {
	for _, wanted := range []int16{unix.POLLOUT, unix.POLLIN} {
		poll := []unix.PollFd{{Fd: int32(fd), Events: wanted}}
		n, err := unix.Poll(poll, int(stuck.Milliseconds()))
		for err == unix.EINTR {
			n, err = unix.Poll(poll, int(stuck.Milliseconds()))
		}
		if err != nil || n != 1 || poll[0].Revents != wanted {
			return false
		}
		if wanted == unix.POLLOUT {
			_, err = unix.Write(fd, []byte("x"))
		} else {
			_, err = unix.Read(fd, make([]byte, 1))
		}
		if err != nil {
			return false
		}
	}
	return true
}
