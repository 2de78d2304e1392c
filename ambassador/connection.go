package ambassador

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Times of a connection before its first byte.
const (
	dialTimeout = 2 * time.Second
	maxDials    = 4 // in one round
	// A service whose instance is just replaced has an endpoint again in a moment: a caller
	// waits so long for it before it is refused.
	endpointPatience = 3 * time.Second
	roundPause       = 200 * time.Millisecond
	// A caller that connects in a loop to a service that is gone fills no more than this.
	maxWaiting = 100
)

// keepAlive notices a peer that vanished within half a minute.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Reasons of a refusal, as the metric counts them.
const (
	reasonStranger = "stranger"              // the address is no container's of ours
	reasonUnknown  = "unknown"               // it could not be found out whose it is
	reasonNoLink   = "no-link"               // the container has no link at this port
	reasonBackend  = "no-backend"            // no instance of the service can be reached
	reasonBusy     = "connections"           // too many connections
	reasonShare    = "container-connections" // too many of one container
	reasonCrowd    = "container-waiting"     // too many of one container wait for an endpoint
)

// errCrowd is the refusal to wait for an endpoint.
var errCrowd = fmt.Errorf("%d connections of this container wait for an endpoint", maxWaiting)

// serve handles one connection from its first to its last byte.
func (a *Ambassador) serve(client *net.TCPConn, port int) {
	ctx := a.work
	source := sourceOf(client)
	who, err := a.callers.find(ctx, source)
	switch {
	case errors.Is(err, errStranger):
		a.refuse(client, port, "", reasonStranger, err)
		return
	case err != nil:
		a.refuse(client, port, "", reasonUnknown, err)
		return
	}
	name, ok := who.backends[port]
	if !ok {
		a.refuse(client, port, who.name, reasonNoLink, errors.New("the container has no such link"))
		return
	}
	backend, closed, err := a.connect(ctx, source, name)
	switch {
	case errors.Is(err, errCrowd):
		a.refuse(client, port, who.name, reasonCrowd, err)
		return
	case err != nil:
		a.refuse(client, port, who.name, reasonBackend, err)
		return
	}
	defer closed()
	forced := context.AfterFunc(ctx, func() {
		reset(client)
		reset(backend)
	})
	defer forced()
	start := time.Now()
	err = a.splicer.splice(client, backend)
	a.log.Debug("connection ended", "container", who.name, "backend", name,
		"endpoint", backend.RemoteAddr(), "lasted", time.Since(start), "err", err)
}

// connect dials an endpoint of the service. A round tries up to four endpoints; rounds follow
// each other with a new look-up until one succeeds or the patience is over. It errs with errCrowd
// if too many connections of the source are between rounds.
func (a *Ambassador) connect(ctx context.Context, source netip.Addr, name string) (conn *net.TCPConn, closed func(), err error) {
	deadline := time.Now().Add(endpointPatience)
	lookup := a.resolver.lookup
	for first := true; ; first = false {
		var endpoints []endpoint
		if endpoints, err = lookup(ctx, name); err == nil {
			if conn, closed, err = a.dialOne(ctx, name, endpoints); err == nil {
				return conn, closed, nil
			}
		}
		if time.Now().Add(roundPause).After(deadline) {
			return nil, nil, err
		}
		if first {
			free, ok := a.waiting.take(source)
			if !ok {
				return nil, nil, fmt.Errorf("%w: %w", errCrowd, err)
			}
			defer free()
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(roundPause):
		}
		lookup = a.resolver.refresh // what is remembered was of no use
	}
}

// dialOne dials the endpoints in the order of choice until one accepts.
func (a *Ambassador) dialOne(ctx context.Context, name string, endpoints []endpoint) (*net.TCPConn, func(), error) {
	if len(endpoints) == 0 {
		return nil, nil, fmt.Errorf("%s has no endpoint", name)
	}
	var errs []error
	for i, e := range a.loads.order(endpoints) {
		if i == maxDials {
			break
		}
		// Counted from here, so that connections made at the same time see each other.
		closed := a.loads.opened(e.addr)
		conn, err := a.dial(ctx, e.addr)
		if err == nil {
			return conn, closed, nil
		}
		closed()
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		a.metrics.dialErrors.Inc()
		a.loads.refused(e.addr)
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}

func (a *Ambassador) dial(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := a.dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err // names the address itself
	}
	return conn.(*net.TCPConn), nil
}

// refuse closes the connection without a byte.
func (a *Ambassador) refuse(client *net.TCPConn, port int, container, reason string, err error) {
	a.metrics.refused.WithLabelValues(reason).Inc()
	a.refusals.log(sourceOf(client), port, container, reason, err)
	reset(client)
}

// sourceOf is the address of the container that connected.
func sourceOf(client *net.TCPConn) netip.Addr {
	return client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}
