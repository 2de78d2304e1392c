// Package relay carries the bytes of connections between callers and backends. It accepts and
// carries; who may connect, and to what, is for others to say.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Call is one connection as its relay sees it, which calls one method at a time.
type Call interface {
	// Choose returns an endpoint to dial, or false if one is not known at once. It does not block.
	Choose() (netip.AddrPort, bool)
	// Failed tells that what Choose returned could not be dialled.
	Failed(err error)
	// Opened tells that what Choose returned has accepted.
	Opened()
	// Connect dials an endpoint. It blocks, until ctx ends at the latest.
	Connect(ctx context.Context) (*net.TCPConn, error)
	// Carried tells of bytes carried since it was called last, up to the backend and down from it.
	Carried(up, down int64)
	// End tells that both connections are closed, and what ended them: nil for an orderly end.
	// It is called once, and nothing after it.
	End(err error)
}

// Relay accepts connections and carries their bytes until both directions ended. The end of one
// direction is passed on alone; a reset on either side resets the other.
type Relay interface {
	// Accept takes connections from the listener, which it owns from now on. stop takes on what
	// waits in the listener's queue, closes it and returns when nothing is accepted any more. Both
	// need that Run was called; after its end nothing is accepted.
	Accept(listener *net.TCPListener) (stop func(), err error)
	// Run carries until ctx ends, resets what is open then, and returns when no Call is left.
	Run(ctx context.Context)
}

// Settings are what all relays want to know.
type Settings struct {
	// Admit takes on a connection from source that was accepted on a port, or refuses it by
	// returning nil. It is called by several goroutines at a time, and does not block.
	Admit func(source netip.Addr, port int) Call
	Log   *slog.Logger
	// Refused, if not nil, tells of a connection that is reset because there is no descriptor for it.
	Refused func(source netip.Addr, port int, err error)
	// Idle is after how long a connection that carries nothing is reset; 0: never.
	Idle time.Duration
}

// DialTimeout is how long to wait for a backend that does not answer.
const DialTimeout = time.Second

const (
	// accountEvery is how often a connection that goes on tells how much it carried.
	accountEvery = 15 * time.Second
	// queueGrace is for connections that the kernel has accepted, but not we: it resets them
	// when the listener is closed.
	queueGrace = 20 * time.Millisecond
	// After an Accept that failed, nothing is accepted for so long, doubled each time.
	pauseLeast, pauseMost = 5 * time.Millisecond, time.Second
)

// KeepAlive notices a peer that vanished within half a minute.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

var (
	errIdle    = errors.New("idle")
	errStopped = errors.New("stopped")
)
