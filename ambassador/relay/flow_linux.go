package relay

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bufferSize = 16 << 10
	// Bytes go through a pipe once so many have filled every buffer: less costs more that way.
	bulk = 64 << 10
	// A flow carries so much in one direction before others have their turn.
	turn = 1 << 20
)

// flow is a connection of a caller with its backend. It belongs to one loop, and nobody else
// touches it.
type flow struct {
	loop       *loop
	index      int32 // in the loop's flows
	generation int32 // tells it from those that had the index before
	call       Call  // nil once the flow is over

	client, backend end

	endpoint netip.AddrPort // that was dialled
	open     bool           // the backend accepted
	waiting  bool           // for Connect
	again    bool           // is in the loop's list of those with more to do
	guarded  bool           // keep-alive is on
	active   time.Time      // when bytes were carried, or a wait for them began
	failure  error          // of a write: what the other side has said before is still to be carried
}

// end is one of the two sockets of a flow, and what was read from it but not yet written to the other.
type end struct {
	fd       int
	watched  uint32 // events that epoll tells of
	readable bool   // as far as is known
	writable bool
	hungUp   bool // the peer ended its direction, which may be still to be read
	ended    bool // all of it was read
	passed   bool // and the other side knows
	deaf     bool // nothing is read any more: the other side takes nothing
	written  bool // something was
	prompt   bool // it sends at once, whatever was written before
	quiet    bool // epoll need not tell of more to read: there is enough, and the other side takes none now

	held    []byte // in buffer
	buffer  *[bufferSize]byte
	pipe    *pipe
	run     int   // bytes since a read that did not fill its buffer
	carried int64 // bytes that were not told of
}

// holds says whether bytes wait for the other side.
func (e *end) holds() bool { return len(e.held) > 0 || e.pipe != nil && e.pipe.held > 0 }

// done says whether the direction from this end is over.
func (e *end) done() bool { return e.ended && !e.holds() }

// begin dials the backend, at once if an endpoint is known.
func (f *flow) begin() {
	f.client.readable, f.client.writable = true, true
	f.client.prompt = true // from its listener
	addr, ok := f.call.Choose()
	if !ok {
		f.wait()
		return
	}
	f.endpoint = addr
	fd, errno := connect(addr)
	if errno != 0 {
		f.call.Failed(dialError(addr, errno))
		f.wait()
		return
	}
	f.backend.fd = fd
	// The handshake may be over already, which the first write will tell.
	f.backend.writable = true
	f.advance()
	if f.call != nil && f.dialling() {
		f.loop.expire(f)
	}
}

// wait has Connect find a backend.
func (f *flow) wait() {
	f.waiting = true
	f.loop.relay.connect(f)
}

// connected ends the wait. The connection is the flow's, if there is one.
func (f *flow) connected(conn *net.TCPConn, err error) {
	f.waiting = false
	if err == nil {
		f.backend.fd, err = takeOver(conn)
	}
	if err == nil && f.loop.stopping {
		err = errStopped
	}
	if err != nil {
		f.abort(err)
		return
	}
	f.open = true
	f.active = f.loop.now
	f.backend.readable, f.backend.writable = true, true
	f.backend.prompt = true // package net's are
	f.advance()
}

// missed gives up the dial and waits for another backend.
func (f *flow) missed(errno unix.Errno) {
	closeSocket(f.backend.fd)
	f.backend = end{fd: -1}
	f.call.Failed(dialError(f.endpoint, errno))
	f.wait()
}

// opened notes that the backend accepted.
func (f *flow) opened() {
	if !f.open {
		f.open = true
		f.call.Opened()
	}
}

// dialling says whether the backend has not answered yet.
func (f *flow) dialling() bool { return !f.open && !f.waiting }

// tell takes what epoll tells of an end.
func (f *flow) tell(e *end, events uint32) {
	if e == &f.backend && f.waiting {
		return // it is of a dial that was given up in this round
	}
	if e == &f.backend && f.dialling() && events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		// Who resets a connection has accepted it before.
		if errno := failure(e.fd); errno != 0 && errno != unix.ECONNRESET {
			f.missed(errno)
			return
		}
	}
	if events&unix.EPOLLOUT != 0 {
		e.writable = true
		if e == &f.backend {
			f.opened()
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 {
		e.quiet = e.readable && !f.other(e).writable
		e.readable = true
	}
	if events&unix.EPOLLRDHUP != 0 {
		e.hungUp = true
	}
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		e.readable, e.writable = true, true // the next call has the error
		e.hungUp = true
	}
	f.advance()
}

// advance carries what can be carried now.
func (f *flow) advance() {
	if f.waiting {
		return
	}
	err := f.pump(&f.client, &f.backend)
	if f.waiting { // the dial failed
		return
	}
	if err == nil {
		err = f.pump(&f.backend, &f.client)
	}
	switch {
	case err != nil:
		f.abort(err)
	case f.client.passed && f.backend.passed:
		f.close(nil)
	default:
		f.watch(&f.client, 0)
		f.watch(&f.backend, 1)
	}
}

// other is the end across.
func (f *flow) other(e *end) *end {
	if e == &f.client {
		return &f.backend
	}
	return &f.client
}

// watch has epoll tell of what the end waits for. That it can be written to is asked for only
// once it could not: it would be told at once. What is asked for once costs nothing later, but
// each packet to a flow that waits to write would be told of.
func (f *flow) watch(e *end, side int32) {
	want := e.watched&unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	if !e.quiet {
		want |= unix.EPOLLIN
	}
	if !e.writable || e == &f.backend && !f.open {
		want |= unix.EPOLLOUT
	}
	if want == e.watched {
		return
	}
	op := unix.EPOLL_CTL_MOD
	if e.watched == 0 {
		op = unix.EPOLL_CTL_ADD
	}
	e.watched = want
	f.loop.control(op, e.fd, &unix.EpollEvent{Events: want, Fd: f.index<<1 | side, Pad: f.generation})
}

// abort ends the flow by a reset on both sides.
func (f *flow) abort(err error) {
	resetSocket(f.client.fd)
	if f.backend.fd >= 0 {
		resetSocket(f.backend.fd)
	}
	f.leave(err)
}

// close ends the flow after both directions ended.
func (f *flow) close(err error) {
	closeSocket(f.client.fd)
	closeSocket(f.backend.fd)
	f.leave(err)
}

// leave gives back all that the flow has, after its sockets are closed.
func (f *flow) leave(err error) {
	f.loop.drop(&f.client)
	f.loop.drop(&f.backend)
	f.account()
	call := f.call
	f.call = nil
	f.loop.remove(f)
	call.End(err)
}

// account tells how much was carried.
func (f *flow) account() {
	if f.client.carried > 0 || f.backend.carried > 0 {
		f.call.Carried(f.client.carried, f.backend.carried)
		f.client.carried, f.backend.carried = 0, 0
	}
}

// look is what happens to every flow now and then.
func (f *flow) look(idle time.Duration) {
	if !f.open {
		return
	}
	f.account()
	if !f.guarded {
		f.guarded = true
		keepAlive(f.backend.fd) // the client has it from the listener
	}
	if idle > 0 && f.loop.now.Sub(f.active) >= idle {
		f.abort(errIdle)
	}
}
