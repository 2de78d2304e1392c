package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// plain is the relay in its simple form: package net, and a goroutine for each direction.
type plain struct {
	Settings
	work  context.Context // of the connections
	stop  context.CancelFunc
	calls sync.WaitGroup
}

// NewPlain makes the relay that runs everywhere. Out of descriptors it lets callers wait, and refuses
// none: for that it would need one in reserve, as the other form has.
func NewPlain(s Settings) Relay {
	p := &plain{Settings: s}
	p.work, p.stop = context.WithCancel(context.Background())
	return p
}

func (p *plain) Run(ctx context.Context) {
	<-ctx.Done()
	p.stop()
	p.calls.Wait()
}

func (p *plain) Accept(listener *net.TCPListener) (stop func(), err error) {
	var accepting sync.WaitGroup
	closing := make(chan struct{})
	accepting.Go(func() { p.accept(listener, closing) })
	return func() {
		close(closing)
		if err := listener.SetDeadline(time.Now().Add(queueGrace)); err != nil {
			p.Log.Debug("listener is gone", "addr", listener.Addr(), "err", err)
		}
		accepting.Wait()
	}, nil
}

// accept accepts until the listener's deadline, and closes it.
func (p *plain) accept(listener *net.TCPListener, closing <-chan struct{}) {
	defer func() {
		_ = listener.Close() // nothing was written to it
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = pauseLeast, pauseMost
	for {
		conn, err := listener.AcceptTCP()
		switch {
		case err == nil:
			retry.Reset()
			p.take(conn, port)
			continue
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return
		}
		// Out of file descriptors, or a client that left: the listener itself is sound.
		p.Log.Warn("accept failed", "port", port, "err", err)
		select {
		case <-closing:
			return
		case <-time.After(retry.NextBackOff()):
		}
	}
}

// take starts to carry a connection if it is admitted.
func (p *plain) take(client *net.TCPConn, port int) {
	source := client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	call := p.Admit(source, port)
	if call == nil {
		reset(client)
		return
	}
	p.calls.Go(func() { call.End(p.carry(client, call)) })
}

// carry handles one connection from its first to its last byte.
func (p *plain) carry(client *net.TCPConn, call Call) error {
	backend, err := call.Connect(p.work)
	if err != nil {
		reset(client)
		return err
	}
	forced := context.AfterFunc(p.work, func() {
		reset(client)
		reset(backend)
	})
	defer forced()
	return splice(client, backend, p.Idle, call.Carried)
}
