package skydns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/skydns/udp"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

const (
	// lookInterval is how often an interface's address is looked at, and an address that
	// could not be bound is tried again.
	lookInterval = time.Second
	// drainTime is how long queries in hand may take when listening ends. It is more than a
	// forward takes.
	drainTime = 5 * time.Second
)

// listener serves DNS at one endpoint whenever that can be bound: not before its interface
// has an address, and no longer than it has.
type listener struct {
	endpoint Endpoint
	handler  udp.Handler
	lookup   func(name string) (netip.Addr, error)
	log      *slog.Logger

	mu    sync.Mutex
	bound netip.AddrPort // zero while nothing is
	err   error          // why not
}

// run serves until ctx ends.
func (l *listener) run(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := l.serve(ctx); err != nil {
			l.setDown(err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
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
		l.log.Warn("not listening", "endpoint", l.endpoint.String(), "err", err)
	}
	l.bound, l.err = netip.AddrPort{}, err
}

func (l *listener) setUp(addr netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.Info("listening", "endpoint", l.endpoint.String(), "addr", addr)
	l.bound, l.err = addr, nil
}

// serve binds the endpoint's address and answers there until ctx ends, the interface loses the
// address, or a socket fails. It returns nil only for the first.
func (l *listener) serve(ctx context.Context) error {
	addr, err := l.endpoint.resolve(l.lookup)
	if err != nil {
		return err
	}
	sockets, err := bind(ctx, addr)
	if err != nil {
		return err
	}
	tcp := &dns.Server{Listener: sockets.tcp, Handler: l.handler}
	group, ctx := errgroup.WithContext(ctx)
	started := make(chan struct{}, 1)
	tcp.NotifyStartedFunc = func() { started <- struct{}{} }
	group.Go(func() error {
		if err := tcp.ActivateAndServe(); err != nil {
			return fmt.Errorf("serve DNS at %s: %w", addr, err)
		}
		return ctx.Err()
	})
	group.Go(func() error {
		server := &udp.Server{Conn: sockets.udp, Handler: l.handler, Log: l.log}
		if err := server.Serve(ctx); err != nil {
			return errors.Join(fmt.Errorf("serve DNS at %s: %w", addr, err), sockets.udp.Close())
		}
		return errors.Join(sockets.udp.Close(), ctx.Err())
	})
	group.Go(func() error {
		select { // a server that has not started cannot be shut down
		case <-started:
		case <-ctx.Done():
			return sockets.tcp.Close()
		}
		l.setUp(sockets.addr())
		defer shutdown([]*dns.Server{tcp})
		return l.watch(ctx, addr)
	})
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
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

// shutdown stops listening and waits until the queries in hand are answered, within bounds.
func shutdown(servers []*dns.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, server := range servers {
		// The error says that time was up, or that the server had failed already.
		wg.Go(func() { _ = server.ShutdownContext(ctx) })
	}
	wg.Wait()
}

// sockets are a UDP and a TCP socket at one address.
type sockets struct {
	udp *net.UDPConn
	tcp *net.TCPListener
}

func (s sockets) close() error { return errors.Join(s.udp.Close(), s.tcp.Close()) }

func (s sockets) addr() netip.AddrPort { return s.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// bind binds both sockets. For port 0 the system chooses one that is free for both.
func bind(ctx context.Context, addr netip.AddrPort) (sockets, error) {
	var config net.ListenConfig
	tcp, err := config.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return sockets{}, err
	}
	chosen := tcp.Addr().(*net.TCPAddr).AddrPort().Port()
	udp, err := config.ListenPacket(ctx, "udp", netip.AddrPortFrom(addr.Addr(), chosen).String())
	if err != nil {
		return sockets{}, errors.Join(err, tcp.Close())
	}
	return sockets{udp: udp.(*net.UDPConn), tcp: tcp.(*net.TCPListener)}, nil
}
