package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
)

const (
	listenAgain = time.Second     // while the host does not have the address
	drainTime   = 3 * time.Second // for requests under way at the end; long polls get none
)

// entrance serves HTTP on an address that the host may get later: over TLS if it is one that others
// reach, and there is a certificate.
type entrance struct {
	addr   string
	secure *tls.Config // nil for none
	log    *slog.Logger

	mu    sync.Mutex
	bound net.Addr
	err   error // why it does not listen
}

func newEntrance(addr string, kept *certificate.Kept, log *slog.Logger) *entrance {
	e := &entrance{addr: addr, log: log, err: errors.New("not listening yet")}
	if kept != nil && !isLoopback(addr) {
		e.secure = kept.Server()
	}
	return e
}

// isLoopback tells whether only the host itself gets there. A name is not trusted to mean that.
func isLoopback(addr string) bool {
	bound, err := netip.ParseAddrPort(addr)
	return err == nil && bound.Addr().IsLoopback()
}

// ready says why the address is not served, nil if it is.
func (e *entrance) ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// boundTo is the address that is listened on, nil before that.
func (e *entrance) boundTo() net.Addr {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bound
}

// run serves until ctx ends. Only a broken listener makes it return an error.
func (e *entrance) run(ctx context.Context, handler http.Handler) error {
	listener := e.listen(ctx)
	if listener == nil {
		return nil
	}
	if e.secure != nil {
		listener = tls.NewListener(listener, e.secure)
	}
	polls, endPolls := context.WithCancel(context.WithoutCancel(ctx))
	defer endPolls()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return polls },
		ErrorLog:          slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", e.addr, err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(polls, drainTime)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		endPolls()
		_ = server.Close() // what is left had its time
	}
	<-served
	return nil
}

// listen waits until it can listen, and returns nil if ctx ends before that.
func (e *entrance) listen(ctx context.Context) net.Listener {
	var config net.ListenConfig
	for {
		listener, err := config.Listen(ctx, "tcp", e.addr)
		if err == nil {
			e.note(listener.Addr(), nil)
			return listener
		}
		e.note(nil, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenAgain):
		}
	}
}

func (e *entrance) note(bound net.Addr, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err == nil:
		e.log.Info("listening", "addr", bound.String())
	case e.err == nil || e.err.Error() != err.Error():
		e.log.Warn("not listening", "err", err)
	}
	e.bound, e.err = bound, err
}
