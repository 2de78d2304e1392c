package udp

import (
	"container/list"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// flow is what one address and port of a caller sends to one port.
type flow struct {
	server *Server
	door   *door
	source netip.AddrPort

	place *list.Element // in the table, nil once it is out; of the table's lock
	used  time.Time     // likewise

	mu       sync.Mutex
	call     Call
	over     bool
	finding  bool      // Find is under way: nothing is told to the call, nor asked but for Trust
	cancel   func()    // ends it
	held     [][]byte  // datagrams that wait for it
	size     int       // of them
	backend  *socket   // nil if there is none
	former   *socket   // that before, while its last replies may come
	moved    time.Time // from there
	up, down int64     // bytes that were not told of
	failure  error     // what ended it
}

func newFlow(d *door, source netip.AddrPort, now time.Time) *flow {
	return &flow{server: d.server, door: d, source: source, used: now, call: d.server.Call(source, d.port)}
}

// send carries a datagram of the caller's. It returns false if the flow is over, and the datagram
// not the flow's.
func (f *flow) send(b []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return false
	}
	switch f.call.Trust() {
	case Gone:
		f.finish(errGone)
		return false
	case Doubted:
		f.hold(b)
		f.find()
		return true
	}
	if f.backend != nil && !f.finding && !f.call.Current() {
		f.find() // and goes on meanwhile: who is withdrawn serves for a while
	}
	// An error of the first write is often that of an earlier datagram.
	for range 2 {
		if f.backend == nil && (f.finding || !f.choose()) {
			break
		}
		if f.write(b) {
			return true
		}
	}
	f.hold(b)
	f.find()
	return true
}

// choose opens a socket to an endpoint if one is known at once. f.mu is held, as in all that follow.
func (f *flow) choose() bool {
	endpoint, ok := f.call.Choose()
	return ok && f.connect(endpoint)
}

// connect opens a socket to the endpoint, if there is not the one that there should be.
func (f *flow) connect(endpoint netip.AddrPort) bool {
	if f.backend != nil {
		if f.backend.endpoint == endpoint {
			return true
		}
		f.leave()
	}
	backend, err := dial(endpoint)
	if err != nil {
		f.call.Failed(err)
		return false
	}
	f.backend = backend
	f.server.flows.Go(func() { f.listen(backend) })
	return true
}

// write sends to the backend. It returns false if another one has to be chosen.
func (f *flow) write(b []byte) bool {
	if err := f.backend.send(b); refuses(err) {
		f.refused(err)
		return false
	}
	f.up += int64(len(b)) // or it was lost, as datagrams may be
	return true
}

// refused gives up the backend.
func (f *flow) refused(err error) {
	f.hangUp()
	if !f.finding { // else it is told of the next error
		f.tell()
		f.call.Failed(err)
	}
}

// hangUp closes the socket to the backend, and with it ends listen.
func (f *flow) hangUp() {
	if f.backend != nil {
		f.backend.close()
		f.backend = nil
	}
}

// leave keeps the socket for the last replies, and for nothing else.
func (f *flow) leave() {
	f.forget()
	f.former, f.backend, f.moved = f.backend, nil, time.Now()
}

// forget closes the former socket.
func (f *flow) forget() {
	if f.former != nil {
		f.former.close()
		f.former = nil
	}
}

// tell tells how much was carried.
func (f *flow) tell() {
	if f.up > 0 || f.down > 0 {
		f.call.Carried(f.up, f.down)
		f.up, f.down = 0, 0
	}
}

// find has the call find who it is with and where, unless it does.
func (f *flow) find() {
	if f.finding {
		return
	}
	f.tell()
	f.finding = true
	ctx, cancel := context.WithCancel(f.server.work)
	f.cancel = cancel
	f.server.flows.Go(func() {
		defer cancel()
		endpoint, err := f.call.Find(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.found(endpoint, err)
	})
}

// found goes on with what was found.
func (f *flow) found(endpoint netip.AddrPort, err error) {
	held := f.held
	f.finding, f.held, f.size = false, nil, 0
	switch {
	case f.over:
		f.conclude()
	case err != nil:
		f.finish(err)
	case f.connect(endpoint):
		for _, b := range held {
			if f.backend == nil || !f.write(b) {
				return
			}
		}
	}
}

// hold keeps the datagram, if there is room.
func (f *flow) hold(b []byte) {
	if len(f.held) < maxHeld && f.size+len(b) <= maxHeldBytes {
		f.held, f.size = append(f.held, slices.Clone(b)), f.size+len(b)
	}
}

// listen carries the backend's replies until its socket is closed.
func (f *flow) listen(backend *socket) {
	err := backend.receive(func(b []byte) {
		if f.mayReply(backend, len(b)) {
			// A caller that takes none loses it, as on any other way.
			_, _ = f.door.conn.WriteToUDPAddrPort(b, f.source)
		}
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.backend == backend && !f.over { // it was not us who closed it
		f.refused(err)
	}
}

// mayReply counts a reply of the backend, and tells whether it may go to the caller: only while that
// is certainly still who asked.
func (f *flow) mayReply(backend *socket, size int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || backend != f.backend && backend != f.former {
		return false
	}
	if trust := f.call.Trust(); trust != Trusted {
		if trust == Gone {
			f.finish(errGone)
		}
		return false
	}
	f.down += int64(size)
	f.server.table.touch(f, time.Now())
	return true
}

// look is what happens to every flow now and then.
func (f *flow) look(now time.Time) {
	quiet, shut := f.server.table.quiet(f, now)
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.moved) >= lastReplies {
		f.forget()
	}
	if f.over || f.finding {
		return
	}
	f.tell()
	switch {
	case f.call.Trust() == Gone:
		f.finish(errGone)
	case quiet >= f.server.Idle:
		f.finish(errIdle)
	case shut && quiet >= lastReplies:
		f.finish(errClosed)
	}
}

// end is finish for others.
func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.finish(err)
	}
}

// finish ends the flow, and with it its call if that finds nothing now.
func (f *flow) finish(err error) {
	f.over, f.failure = true, err
	f.held, f.size = nil, 0
	f.server.table.remove(f)
	f.hangUp()
	f.forget()
	if f.finding {
		f.cancel() // or a flood of sources would leave ever more of it behind
		return
	}
	f.conclude()
}

// conclude gives back what the flow has, once its call has nothing more to find.
func (f *flow) conclude() {
	f.tell()
	f.call.End(f.failure)
	if f.server.table.leave(f) {
		f.door.close()
	}
}
