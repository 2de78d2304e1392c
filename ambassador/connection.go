package ambassador

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/backend"
	"github.com/dokkaa/dokkaa/ambassador/identity"
	"github.com/dokkaa/dokkaa/ambassador/ledger"
	"github.com/dokkaa/dokkaa/ambassador/relay"
)

// Reasons of a refusal, as the metric counts them.
const (
	reasonStranger = "stranger"              // the address is no container's of ours
	reasonHost     = "host"                  // the address is the host's own
	reasonUnknown  = "unknown"               // it could not be found out whose it is
	reasonNoLink   = "no-link"               // the container has no link at this port
	reasonBackend  = "no-backend"            // no instance of the service can be reached
	reasonBusy     = "connections"           // too many connections
	reasonShare    = "container-connections" // too many of one container
	reasonCrowd    = "container-waiting"     // too many of one container wait for an endpoint
	reasonFiles    = "descriptors"           // the process may open no more
)

var errNoLink = errors.New("the container has no such link")

// connection is one of a container, from its acceptance to its end: a relay.Call.
type connection struct {
	a      *Ambassador
	source netip.Addr
	port   int
	free   func() // gives back its share

	container string // name of the caller, once known
	service   string // DNS name that the caller may reach, likewise
	loyal     string // whom to give the same endpoint each time, "" if any will do
	round     round

	choice   backend.Choice
	endpoint netip.AddrPort  // of the choice
	account  *ledger.Backend // of the endpoint
	began    time.Time       // of the dial, and then of the bytes
	dialled  time.Duration   // how long the endpoint took to accept
	open     bool            // it has
	up, down int64           // bytes
}

// admit takes a new connection. No container gets so many that there are none left for others.
func (a *Ambassador) admit(source netip.Addr, port int) relay.Call {
	free, ok := a.shares.take(source)
	if !ok {
		a.refuse(source, port, "", reasonShare, fmt.Errorf("%d connections of this container are open", a.settings.MaxConnectionsPerContainer))
		return nil
	}
	select {
	case a.slots <- struct{}{}:
	default:
		free()
		a.refuse(source, port, "", reasonBusy, fmt.Errorf("%d connections are open", a.settings.MaxConnections))
		return nil
	}
	a.metrics.accepted.Inc()
	a.metrics.open.Inc()
	a.connections.Add(1)
	return &connection{a: a, source: source, port: port, free: free}
}

// Choose returns the first endpoint to dial if all that leads to it is remembered.
func (c *connection) Choose() (netip.AddrPort, bool) {
	who := c.a.callers.Known(c.source)
	if who == nil || !c.is(who) {
		return netip.AddrPort{}, false
	}
	pool, ok := c.a.names.Fresh(c.service)
	if !ok {
		return netip.AddrPort{}, false
	}
	c.round = round{pool: pool}
	return c.next()
}

// Failed takes back a choice.
func (c *connection) Failed(err error) { c.missed(err) }

// Opened counts the connection as the endpoint's.
func (c *connection) Opened() {
	now := time.Now()
	c.dialled, c.began, c.open = now.Sub(c.began), now, true
	c.account.Opened(c.dialled)
	c.choice.Accepted()
}

// Connect dials endpoints until one accepts. What Choose and Failed found counts.
func (c *connection) Connect(ctx context.Context) (*net.TCPConn, error) {
	err := c.identify(ctx)
	if err == nil {
		var conn *net.TCPConn
		if conn, err = c.connect(ctx); err == nil {
			return conn, nil
		}
	}
	reason := reasonOf(err)
	if c.service != "" {
		c.a.ledger.Service(c.service).Refused(reason)
	}
	c.a.refuse(c.source, c.port, c.container, reason, err)
	return nil, err
}

// Carried counts bytes.
func (c *connection) Carried(up, down int64) {
	c.a.metrics.up.Add(float64(up))
	c.a.metrics.down.Add(float64(down))
	c.account.Carried(up, down)
	c.up += up
	c.down += down
}

// End gives back what the connection had.
func (c *connection) End(err error) {
	c.choice.Release()
	if c.open {
		lasted := time.Since(c.began)
		c.account.Closed(lasted)
		c.log(lasted, err)
	}
	c.a.metrics.open.Dec()
	<-c.a.slots
	c.free()
	c.a.connections.Done()
}

// log writes the connection's line into the access log, if it is to have one.
func (c *connection) log(lasted time.Duration, err error) {
	level, ok := c.a.accessLevel()
	if !ok {
		return
	}
	ended := "orderly"
	if err != nil {
		ended = err.Error()
	}
	c.a.log.Log(context.Background(), level, "connection ended", "source", c.source, "container", c.container, "service", c.service,
		"endpoint", c.endpoint, "up", c.up, "down", c.down, "dialled", c.dialled, "lasted", lasted, "ended", ended)
}

// accessLevel draws the level of a line of the access log, false if it is not to be written.
func (a *Ambassador) accessLevel() (slog.Level, bool) {
	level := slog.LevelDebug
	if rate := a.settings.AccessLog; rate > 0 && rand.Float64() < rate {
		level = slog.LevelInfo
	}
	return level, a.log.Enabled(context.Background(), level)
}

// identify finds out who calls, and what for.
func (c *connection) identify(ctx context.Context) error {
	if c.service != "" {
		return nil
	}
	who, err := c.a.callers.Find(ctx, c.source)
	if err != nil {
		return err
	}
	if !c.is(who) {
		return errNoLink
	}
	return nil
}

// is notes who calls, and says whether that container has a link here.
func (c *connection) is(who *identity.Caller) bool {
	c.container, c.service = who.Name, who.Links[c.port]
	if who.Sticky[c.port] {
		c.loyal = who.ID // its name may be another in a moment
	}
	return c.service != ""
}

// refused is told of a connection that was not even admitted, for want of a descriptor.
func (a *Ambassador) refused(source netip.Addr, port int, err error) {
	a.refuse(source, port, "", reasonFiles, err)
}

// refuse tells why a connection is about to be closed without a byte.
func (a *Ambassador) refuse(source netip.Addr, port int, container, reason string, err error) {
	a.metrics.refused.WithLabelValues(reason).Inc()
	a.refusals.log(source, port, container, reason, err)
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, identity.ErrStranger):
		return reasonStranger
	case errors.Is(err, identity.ErrHost):
		return reasonHost
	case errors.Is(err, identity.ErrUnknown):
		return reasonUnknown
	case errors.Is(err, errNoLink):
		return reasonNoLink
	case errors.Is(err, errCrowd):
		return reasonCrowd
	}
	return reasonBackend
}
