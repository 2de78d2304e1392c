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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/internal/certificate"
	"github.com/dokkaa/dokkaa/internal/handover"
)

const (
	listenAgain = time.Second           // while the host does not have the address
	drainTime   = 3 * time.Second       // for requests under way at the end; long polls get none
	lingerTime  = 2 * time.Second       // for clients to go over to the gateway that has taken over
	lingerLook  = 50 * time.Millisecond // how often to look whether they have
)

// entrance serves HTTP on an address that the host may get later, in the turns of this process: over
// TLS if it is one that others reach, and there is a certificate.
type entrance struct {
	addr    string
	sockets *handover.Sockets
	kept    *certificate.Kept // to speak TLS with, nil for none
	log     *slog.Logger

	resting atomic.Bool  // another process serves
	open    atomic.Int32 // connections

	mu    sync.Mutex
	bound net.Addr
	err   error // why it does not listen
}

func newEntrance(addr string, sockets *handover.Sockets, kept *certificate.Kept, log *slog.Logger) *entrance {
	e := &entrance{addr: addr, sockets: sockets, log: log, err: errors.New("not listening yet")}
	if kept != nil && !isLoopback(addr) {
		e.kept = kept
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
	polls, endPolls := context.WithCancel(context.WithoutCancel(ctx))
	defer endPolls()
	server := &http.Server{
		Handler:           e.leaving(handler),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return polls },
		ConnContext:       e.connected,
		ConnState:         e.count,
		ErrorLog:          slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
	for ctx.Err() == nil {
		if err := e.takeTurn(ctx, server); err != nil {
			return err
		}
	}
	if e.resting.Load() {
		e.linger()
	}
	patience, cancel := context.WithTimeout(polls, drainTime)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		endPolls()
		_ = server.Close() // what is left had its time
	}
	return nil
}

// takeTurn waits until this process serves, and accepts until another does or ctx ends.
func (e *entrance) takeTurn(ctx context.Context, server *http.Server) error {
	turn, end, err := e.sockets.Turn(ctx)
	if err != nil {
		return nil // ctx ended
	}
	defer end()
	listener := e.listen(turn)
	if listener == nil {
		return nil
	}
	if e.kept != nil {
		listener = tls.NewListener(listener, e.kept.Server())
	}
	e.resting.Store(false)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", e.addr, err)
	case <-turn.Done():
	}
	e.resting.Store(e.sockets.Resting())
	_ = listener.Close() // the socket itself is kept for another
	<-served
	if addr, ok := listener.Addr().(*net.TCPAddr); ok && ctx.Err() != nil {
		e.sockets.Leave(addr.AddrPort())
	}
	return nil
}

// leaving has clients that keep their connection open make another: to the process that serves now, or
// since certificates changed. Who proved then who it is may be nobody who is believed now.
func (e *entrance) leaving(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isOld := e.resting.Load() || e.kept != nil && r.Context().Value(versionKey{}) != e.kept.Version()
		if isOld && !wantsUpgrade(r) {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
}

// wantsUpgrade tells of a request whose connection serves no other: what it becomes ends it, or a refusal.
func wantsUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && strings.HasPrefix(r.URL.Path, "/v1/")
}

// versionKey is that of the version of the certificates with which a connection began.
type versionKey struct{}

func (e *entrance) connected(ctx context.Context, _ net.Conn) context.Context {
	if e.kept == nil {
		return ctx
	}
	return context.WithValue(ctx, versionKey{}, e.kept.Version())
}

func (e *entrance) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		e.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		e.open.Add(-1)
	}
}

// linger waits for a while until no connection is open: one that is closed while its client sends a
// request would fail it.
func (e *entrance) linger() {
	for deadline := time.Now().Add(lingerTime); e.open.Load() > 0 && time.Now().Before(deadline); {
		<-time.After(lingerLook)
	}
}

// listen waits until it can listen, and returns nil if the turn ends before that.
func (e *entrance) listen(turn context.Context) net.Listener {
	for {
		listener, err := e.tryListen(turn)
		if err == nil {
			e.note(listener.Addr(), nil)
			return listener
		}
		if turn.Err() != nil {
			return nil
		}
		e.note(nil, err)
		select {
		case <-turn.Done():
			return nil
		case <-time.After(listenAgain):
		}
	}
}

func (e *entrance) tryListen(turn context.Context) (*net.TCPListener, error) {
	addr, err := resolve(e.addr)
	if err != nil {
		return nil, err
	}
	return e.sockets.ListenTCP(turn, addr)
}

// resolve is the address that text means: it may have a name, or no host.
func resolve(text string) (netip.AddrPort, error) {
	addr, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if addr.IP == nil {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(addr.Port)), nil
	}
	found := addr.AddrPort()
	return netip.AddrPortFrom(found.Addr().Unmap(), found.Port()), nil
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
