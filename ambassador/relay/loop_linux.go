package relay

import (
	"math"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	lookEvery   = 5 * time.Second // at every flow
	maxEvents   = 256             // of one wait
	keptBuffers = 64
)

// What the Pad of an event says, unless it is a flow's generation.
const (
	ofBell = -1 - iota
	ofDoor // of which Fd is the descriptor
)

// loop carries the bytes of its share of the flows, in one goroutine.
type loop struct {
	relay *epoll
	poll  int // epoll
	bell  int // eventfd, which rings when there is mail

	mu    sync.Mutex
	mail  []func() // for the loop to do
	ended bool     // it does nothing any more

	now      time.Time // of the present round
	flows    []*flow   // by index, also those that are over
	free     []int32   // indexes of these
	unready  []*flow   // with more to do than their turn allowed
	dials    []dial    // in the order of their deadlines
	looked   time.Time // at every flow
	stopping bool

	doors  []*door
	paused time.Duration // the present or last pause in accepting, 0 if all is well
	until  time.Time     // when it ends, zero if there is none

	events  []unix.EpollEvent
	busy    bool // the last wait brought several events
	rounds  int
	scratch []byte
	buffers []*[bufferSize]byte
	pipes   pipes
}

// dial is one that may have to be given up.
type dial struct {
	flow       *flow
	generation int32
	deadline   time.Time
}

func newLoop(r *epoll) (*loop, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		closeSocket(poll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	l := &loop{relay: r, poll: poll, bell: bell, events: make([]unix.EpollEvent, maxEvents), scratch: make([]byte, bufferSize)}
	l.control(unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Pad: ofBell})
	return l, nil
}

func (l *loop) close() {
	l.pipes.closeIdle()
	closeSocket(l.bell)
	closeSocket(l.poll)
}

// post has the loop do something, unless it has ended. It does not block, and may be called by anybody.
func (l *loop) post(do func()) (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false // and the bell may be closed
	}
	if l.mail = append(l.mail, do); len(l.mail) == 1 {
		one := uint64(1)
		unix.RawSyscall(unix.SYS_WRITE, uintptr(l.bell), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
	}
	return true
}

// read does what is in the mail. The bell need not be read: it rings at each write to it.
func (l *loop) read() {
	l.mu.Lock()
	mail := l.mail
	l.mail = nil
	l.mu.Unlock()
	for _, do := range mail {
		do()
	}
}

// run goes on until the loop was halted and its last flow is over.
func (l *loop) run() {
	l.now = time.Now()
	l.looked = l.now
	l.read()
	for !l.stopping || len(l.free) < len(l.flows) {
		n := l.wait()
		l.now = time.Now()
		for i := range l.events[:n] {
			l.handle(&l.events[i])
		}
		unready := l.unready
		l.unready = nil
		for _, f := range unready {
			f.again = false
			if f.call != nil {
				f.advance()
			}
		}
		l.tick()
	}
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.read()
}

// halt accepts nothing any more, and ends all flows but those in Connect, which ends soon.
func (l *loop) halt() {
	l.stopping = true
	for _, d := range l.doors {
		l.control(unix.EPOLL_CTL_DEL, d.fd, nil)
	}
	for _, f := range l.flows {
		if f.call != nil && !f.waiting {
			f.abort(errStopped)
		}
	}
}

// wait returns how many events there are, after as long as nothing else is to be done. A loop that
// is busy asks before it waits: most often there is something, and the scheduler need not know.
func (l *loop) wait() int {
	if l.busy {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.poll), uintptr(unsafe.Pointer(&l.events[0])), maxEvents, 0, 0, 0)
		if errno == 0 && n > 0 {
			if l.rounds++; l.rounds%16 == 0 {
				runtime.Gosched() // for those in Connect
			}
			return int(n)
		}
	}
	n, err := unix.EpollWait(l.poll, l.events, l.patience())
	l.busy = n > 1
	if err != nil {
		return 0 // interrupted
	}
	return n
}

// patience is how long the next wait may last, in milliseconds.
func (l *loop) patience() int {
	if len(l.unready) > 0 {
		return 0
	}
	next := l.looked.Add(l.lookEvery())
	if len(l.dials) > 0 && l.dials[0].deadline.Before(next) {
		next = l.dials[0].deadline
	}
	if !l.until.IsZero() && l.until.Before(next) {
		next = l.until
	}
	return int(min(max(next.Sub(l.now)+time.Millisecond-1, 0)/time.Millisecond, math.MaxInt32))
}

func (l *loop) handle(event *unix.EpollEvent) {
	switch event.Pad {
	case ofBell:
		l.read()
		return
	case ofDoor:
		l.enter(int(event.Fd))
		return
	}
	f := l.flows[event.Fd>>1]
	switch {
	case f.call == nil || f.generation != event.Pad:
		// It ended in this round.
	case event.Fd&1 == 0:
		f.tell(&f.client, event.Events)
	default:
		f.tell(&f.backend, event.Events)
	}
}

// tick does what time has come for.
func (l *loop) tick() {
	for len(l.dials) > 0 {
		d := l.dials[0]
		pending := d.flow.call != nil && d.flow.generation == d.generation && d.flow.dialling()
		if pending && l.now.Before(d.deadline) {
			break
		}
		l.dials = l.dials[1:]
		if pending {
			d.flow.missed(unix.ETIMEDOUT)
		}
	}
	if !l.until.IsZero() && !l.now.Before(l.until) {
		l.resume()
	}
	if l.now.Sub(l.looked) >= l.lookEvery() {
		l.looked = l.now
		for _, f := range l.flows {
			if f.call != nil {
				f.look(l.relay.Idle)
			}
		}
	}
}

func (l *loop) lookEvery() time.Duration {
	if idle := l.relay.Idle; idle > 0 {
		return min(lookEvery, max(idle/4, time.Millisecond))
	}
	return lookEvery
}

// expire sees to it that a dial does not last for ever.
func (l *loop) expire(f *flow) {
	l.dials = append(l.dials, dial{f, f.generation, l.now.Add(DialTimeout)})
}

// later gives a flow another turn after all others.
func (l *loop) later(f *flow) {
	if !f.again {
		f.again = true
		l.unready = append(l.unready, f)
	}
}

// add makes a flow for a connection that was accepted.
func (l *loop) add(client int, call Call) *flow {
	var index int32
	if n := len(l.free); n > 0 {
		index = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		index = int32(len(l.flows))
		l.flows = append(l.flows, &flow{loop: l, index: index})
	}
	f := l.flows[index]
	*f = flow{loop: l, index: index, generation: (f.generation + 1) & math.MaxInt32, again: f.again, call: call, active: l.now}
	f.client.fd, f.backend.fd = client, -1
	return f
}

func (l *loop) remove(f *flow) { l.free = append(l.free, f.index) }

// control changes what epoll tells of. It fails only if the kernel has no memory, and then the
// flow stays as it is until its peers end it.
func (l *loop) control(op, fd int, event *unix.EpollEvent) {
	unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.poll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(event)), 0, 0)
}

func (l *loop) takeBuffer() *[bufferSize]byte {
	if n := len(l.buffers); n > 0 {
		b := l.buffers[n-1]
		l.buffers = l.buffers[:n-1]
		return b
	}
	return new([bufferSize]byte)
}

// drop gives back what an end holds bytes in.
func (l *loop) drop(e *end) {
	if e.buffer != nil {
		if len(l.buffers) < keptBuffers {
			l.buffers = append(l.buffers, e.buffer)
		}
		e.buffer, e.held = nil, nil
	}
	if e.pipe != nil {
		l.pipes.give(e.pipe)
		e.pipe = nil
	}
}
