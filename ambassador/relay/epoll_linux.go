package relay

import (
	"context"
	"net"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// maxLoops is how many threads carry bytes: more would only wake each other.
const maxLoops = 4

// epoll is the relay in its fast form: a few loops, each waiting for all of its sockets at a time.
// See docs/adr/0018-own-event-loop.md.
type epoll struct {
	Settings
	loops   []*loop
	reserve reserve
	ctx     context.Context // of Run
	waits   sync.WaitGroup  // goroutines in Connect
}

// New makes the relay that suits the system. Run has to be called, or its descriptors stay open.
func New(s Settings) (Relay, error) {
	r := &epoll{Settings: s}
	for range min(maxLoops, runtime.GOMAXPROCS(0)) {
		l, err := newLoop(r)
		if err != nil {
			r.close()
			return nil, err
		}
		r.loops = append(r.loops, l)
	}
	r.reserve.fill()
	return r, nil
}

func (r *epoll) close() {
	for _, l := range r.loops {
		l.close()
	}
	r.reserve.empty()
}

func (r *epoll) Run(ctx context.Context) {
	r.ctx = ctx
	stop := context.AfterFunc(ctx, func() {
		for _, l := range r.loops {
			l.post(l.halt)
		}
	})
	defer stop()
	var group sync.WaitGroup
	for _, l := range r.loops {
		group.Go(l.run)
	}
	group.Wait()
	r.waits.Wait()
	r.close()
}

func (r *epoll) Accept(listener *net.TCPListener) (stop func(), err error) {
	d := &door{port: listener.Addr().(*net.TCPAddr).Port}
	if d.fd, err = takeOver(listener); err != nil {
		return nil, err
	}
	// What is accepted inherits these.
	keepAlive(d.fd)
	setOption(d.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	for _, l := range r.loops {
		l.post(func() { l.open(d) })
	}
	return func() {
		var shut sync.WaitGroup
		shut.Add(len(r.loops))
		for _, l := range r.loops {
			if !l.post(func() {
				l.shut(d)
				shut.Done()
			}) {
				shut.Done()
			}
		}
		shut.Wait()
		closeSocket(d.fd)
	}, nil
}

// connect runs a flow's Connect beside its loop, and hands the result back.
func (r *epoll) connect(f *flow) {
	r.waits.Go(func() {
		conn, err := f.call.Connect(r.ctx)
		f.loop.post(func() { f.connected(conn, err) })
	})
}
