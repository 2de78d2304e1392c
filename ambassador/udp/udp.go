// Package udp carries datagrams between callers and backends. What comes from one address and port
// of a caller is a flow: it has a socket of its own to a backend, whose replies go back to the caller.
// Who may send, and whereto, is for others to say. See docs/adr/0022-datagrams.md.
package udp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"
)

// Trust is whether what is known of a caller still holds.
type Trust int

// The answers.
const (
	Doubted Trust = iota // it has to be found out
	Trusted
	Gone // the caller has ended
)

// Call is one flow as the server sees it, which calls one method at a time, but for Trust.
type Call interface {
	// Trust says whether the caller is still who it was. It is asked for each datagram, at any time.
	Trust() Trust
	// Current says whether the endpoint is known to be still one of the service's. It is asked for
	// each datagram of the caller's, and like Trust and Choose it does not block.
	Current() bool
	// Choose returns another endpoint, or false if one is not known at once.
	Choose() (netip.AddrPort, bool)
	// Find finds out who the caller is, and returns the endpoint if it is still one of the service's,
	// or else another. It errs if the caller is not who it was, or may not send here, or if there
	// is no endpoint. It blocks, until ctx ends at the latest.
	Find(ctx context.Context) (netip.AddrPort, error)
	// Failed tells that the endpoint that was chosen refused a datagram.
	Failed(err error)
	// Carried tells of bytes, up to the endpoint or down from it.
	Carried(up, down int64)
	// End tells that the flow is over, and why. It is called once, and nothing after it.
	End(err error)
}

// Settings are what a server wants to know.
type Settings struct {
	// Call makes a flow of what comes from source to a port. It does not block, nor refuse.
	Call func(source netip.AddrPort, port int) Call
	Log  *slog.Logger
	// Idle is after how long a flow ends that carried nothing.
	Idle time.Duration
	// Max and MaxPerSource are how many flows there may be in all, and of one address. With one
	// more, that of the same address ends that carried nothing for the longest time.
	Max, MaxPerSource int
}

const (
	// maxDatagram is more than any may have.
	maxDatagram = 64 << 10
	// What waits for an endpoint is held, as far as this goes.
	maxHeld, maxHeldBytes = 16, 64 << 10
	// A port that is closed takes no more datagrams, but replies that are on their way still go back.
	lastReplies = 500 * time.Millisecond
	lookEvery   = 250 * time.Millisecond // at every flow
	readPause   = 10 * time.Millisecond  // after a read that failed
)

// Why a flow ended.
var (
	errIdle    = errors.New("idle")
	errCrowded = errors.New("made room for another")
	errGone    = errors.New("the container has ended")
	errClosed  = errors.New("the port was closed")
	errStopped = errors.New("stopped")
)
