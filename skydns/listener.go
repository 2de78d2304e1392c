package skydns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/handover"
	"github.com/dokkaa/dokkaa/skydns/tcp"
	"github.com/dokkaa/dokkaa/skydns/udp"
	"golang.org/x/sync/errgroup"
)

// lookInterval is how often an interface's address is looked at, and an address that could not be
// bound is tried again.
const lookInterval = time.Second

// errResting is why a server listens nowhere that has handed its sockets over.
var errResting = errors.New("another process serves")

// listener serves DNS at one endpoint whenever that can be bound, in the turns of this process: not
// before its interface has an address, and no longer than it has.
type listener struct {
	endpoint    Endpoint
	sockets     *handover.Sockets
	passed      *os.File         // the socket to serve, instead of one at the endpoint
	certificate *tcp.Certificate // speak TLS, over TCP only
	handler     udp.Handler
	lookup      func(name string) (netip.Addr, error)
	log         *slog.Logger

	mu    sync.Mutex
	bound netip.AddrPort // zero while nothing is
	err   error          // why not
}

// run serves until ctx ends.
func (l *listener) run(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := l.takeTurn(ctx)
		if err == nil {
			continue // another process's turn, or the end
		}
		l.setDown(err)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// takeTurn waits until this process serves, and answers until another does or ctx ends.
func (l *listener) takeTurn(ctx context.Context) error {
	turn, end, err := l.sockets.Turn(ctx)
	if err != nil {
		return nil // ctx ended
	}
	defer end()
	if err := l.serve(turn); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound, l.err = netip.AddrPort{}, errResting
	return nil
}

// name is what the listener is called in logs.
func (l *listener) name() string {
	if l.passed != nil {
		return l.passed.Name()
	}
	return l.endpoint.String()
}

// state is the address bound now, else the reason why there is none.
func (l *listener) state() (netip.AddrPort, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bound, l.err
}

// setDown notes why nothing is bound; it logs a reason only when it is a new one.
func (l *listener) setDown(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil || l.err.Error() != err.Error() {
		l.log.Warn("not listening", "endpoint", l.name(), "err", err)
	}
	l.bound, l.err = netip.AddrPort{}, err
}

func (l *listener) setUp(addr netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.Info("listening", "endpoint", l.name(), "addr", addr)
	l.bound, l.err = addr, nil
}

// serve binds the endpoint's address and answers there until ctx ends, the interface loses the
// address, or a socket fails. It returns nil only for the first.
func (l *listener) serve(ctx context.Context) error {
	addr, err := l.endpoint.resolve(l.lookup)
	if err != nil {
		return err
	}
	sockets, err := l.open(ctx, addr)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	leave := func() { l.sockets.Leave(sockets.addr()) }
	defer leave()
	defer context.AfterFunc(ctx, leave)() // at once: nobody new is to wait for what is in hand
	l.setUp(sockets.addr())
	group, ctx := errgroup.WithContext(ctx)
	serve := func(server interface{ Serve(context.Context) error }, socket io.Closer) {
		group.Go(func() error {
			err := server.Serve(ctx)
			_ = socket.Close() // some servers have closed theirs
			if err != nil {
				return fmt.Errorf("serve DNS at %s: %w", addr, err)
			}
			return ctx.Err()
		})
	}
	if sockets.udp != nil {
		serve(&udp.Server{Conn: sockets.udp, Handler: l.handler, Log: l.log}, sockets.udp)
	}
	if sockets.tcp != nil {
		var streams net.Listener = sockets.tcp
		if l.certificate != nil {
			streams = tls.NewListener(streams, l.certificate.Config())
		}
		serve(&tcp.Server{Listener: streams, Handler: l.handler, Log: l.log, Limits: tcp.DefaultLimits(), Relieved: l.sockets.Resting}, sockets.tcp)
	}
	group.Go(func() error { return l.watch(ctx, addr) })
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// open opens the sockets to serve.
func (l *listener) open(ctx context.Context, addr netip.AddrPort) (sockets, error) {
	switch {
	case l.passed != nil:
		return reopen(l.passed)
	case l.certificate != nil:
		tcp, err := l.sockets.ListenTCP(ctx, addr)
		return sockets{tcp: tcp}, err
	}
	return bind(ctx, l.sockets, addr)
}

// watch returns an error when the endpoint has another address, and nil when ctx ends.
func (l *listener) watch(ctx context.Context, addr netip.AddrPort) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := l.endpoint.resolve(l.lookup)
		if err != nil {
			return err
		}
		if now != addr {
			return fmt.Errorf("interface %s went from %s to %s", l.endpoint.Interface, addr, now)
		}
	}
}

// sockets are a UDP and a TCP socket at one address, or one of them.
type sockets struct {
	udp *net.UDPConn
	tcp *net.TCPListener
}

func (s sockets) close() error { return errors.Join(s.udp.Close(), s.tcp.Close()) }

func (s sockets) addr() netip.AddrPort {
	if s.udp == nil {
		return s.tcp.Addr().(*net.TCPAddr).AddrPort()
	}
	return s.udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

// bind binds both sockets. For port 0 the system chooses one, several times if need be, since what
// is free for one protocol may be taken for the other.
func bind(ctx context.Context, from *handover.Sockets, addr netip.AddrPort) (sockets, error) {
	const attempts = 20
	for n := 1; ; n++ {
		bound, err := bindBoth(ctx, from, addr)
		if err == nil || addr.Port() != 0 || n == attempts {
			return bound, err
		}
	}
}

func bindBoth(ctx context.Context, from *handover.Sockets, addr netip.AddrPort) (sockets, error) {
	tcp, err := from.ListenTCP(ctx, addr)
	if err != nil {
		return sockets{}, err
	}
	bound := tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := from.ListenUDP(ctx, netip.AddrPortFrom(addr.Addr(), bound.Port()))
	if err != nil {
		from.Leave(bound)
		return sockets{}, errors.Join(err, tcp.Close())
	}
	return sockets{udp: udp, tcp: tcp}, nil
}
