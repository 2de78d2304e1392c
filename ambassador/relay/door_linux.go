package relay

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const maxAccepts = 16 // in a row

// door is a listener, which all loops share.
type door struct {
	fd, port int
}

// open starts to accept at the door.
func (l *loop) open(d *door) {
	l.doors = append(l.doors, d)
	if l.until.IsZero() {
		l.listen(d)
	}
}

// listen has epoll tell one of the loops of a connection that waits at the door.
func (l *loop) listen(d *door) {
	if l.stopping {
		return
	}
	l.control(unix.EPOLL_CTL_ADD, d.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: int32(d.fd), Pad: ofDoor})
}

// shut leaves the door, and takes what waits there: of what came before, perhaps nobody else was told.
func (l *loop) shut(d *door) {
	l.control(unix.EPOLL_CTL_DEL, d.fd, nil)
	for l.until.IsZero() && l.acceptOne(d) {
	}
	l.doors = slices.DeleteFunc(l.doors, func(other *door) bool { return other == d })
}

// enter accepts what waits at the door. If it is more than a turn's worth, epoll tells again.
func (l *loop) enter(fd int) {
	i := slices.IndexFunc(l.doors, func(d *door) bool { return d.fd == fd })
	if i < 0 {
		return // it was shut in this round
	}
	for range maxAccepts {
		if !l.acceptOne(l.doors[i]) {
			return
		}
	}
}

// acceptOne returns false if it makes no sense to try the next.
func (l *loop) acceptOne(d *door) bool {
	if l.stopping {
		return false // nobody would end it
	}
	fd, source, errno := accept(d.fd)
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EBADF, unix.EINVAL:
		return false
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		l.pause(d, errno)
		return false
	default:
		return true // the client left
	}
	l.paused = 0
	call := l.relay.Admit(source, d.port)
	if call == nil {
		resetSocket(fd)
		return true
	}
	l.add(fd, call).begin()
	return true
}

// pause refuses what waits at the door, for want of descriptors, and accepts nothing for a while.
func (l *loop) pause(d *door, errno unix.Errno) {
	l.paused = min(max(2*l.paused, pauseLeast), pauseMost)
	l.until = l.now.Add(l.paused)
	for _, d := range l.doors {
		l.control(unix.EPOLL_CTL_DEL, d.fd, nil)
	}
	refused := 0
	for range maxAccepts {
		source, ok := l.relay.reserve.refuse(d.fd)
		if !ok {
			break
		}
		refused++
		if l.relay.Refused != nil {
			l.relay.Refused(source, d.port, fmt.Errorf("accept: %w", errno))
		}
	}
	l.relay.Log.Warn("accept failed", "port", d.port, "err", errno, "refused", refused, "pause", l.paused)
}

// resume accepts again.
func (l *loop) resume() {
	l.until = time.Time{}
	l.relay.reserve.fill()
	for _, d := range l.doors {
		l.listen(d)
	}
}

// reserve is a descriptor that is given up to refuse a connection when there is no other.
type reserve struct {
	mu   sync.Mutex
	file *os.File
}

// fill takes the descriptor if it is not there. That may fail: somebody else was faster.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		r.file, _ = os.Open(os.DevNull)
	}
}

func (r *reserve) empty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close() // nothing was written to it
		r.file = nil
	}
}

// refuse resets a connection that waits in the listener's queue, and returns whose it was.
func (r *reserve) refuse(listener int) (source netip.Addr, ok bool) {
	r.empty()
	fd, source, errno := accept(listener)
	if errno == 0 {
		resetSocket(fd)
	}
	r.fill()
	return source, errno == 0
}
