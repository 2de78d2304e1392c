// Package identity knows the containers of this host by the addresses that they call from, and what
// the conductor lets each of them reach. See docs/adr/0020-whose-address.md.
package identity

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// Why an address is nobody's.
var (
	// ErrStranger is the refusal of an address that no container of ours has.
	ErrStranger = errors.New("not a container of this cluster")
	// ErrUnknown is the refusal of an address of which that could not be found out.
	ErrUnknown = errors.New("find caller")
	// ErrHost is the refusal of an address of the host itself, behind which there may be anybody.
	ErrHost = errors.New("the address is the host's own: a container with the host's network cannot be told from its other processes")
)

// Caller is a container that may connect. It does not change.
type Caller struct {
	ID     string
	Name   string
	Links  map[int]string // port -> DNS name
	Sticky map[int]bool   // ports of links that always want the same backend
}

// Engine is what Callers asks of Docker.
type Engine interface {
	Containers(ctx context.Context, label string) ([]docker.Container, error)
	Watch(ctx context.Context, filters url.Values, hint func(docker.Event)) error
}

// Settings are what Callers wants to know.
type Settings struct {
	Engine Engine
	Log    *slog.Logger
	// Failed is called for each listing that failed.
	Failed func()
	// Changed is called after anything changed that Callers tells. It does not block.
	Changed func()
}

// view is what is known at a moment. It does not change.
type view struct {
	trusted bool // no listing is needed to believe it
	callers map[netip.Addr]*Caller
	wanted  map[int]string // port -> name of a container that has a link there
}

// Known returns the caller that has the address, nil if there is none, or if it takes a listing
// to be sure. It does not block.
func (c *Callers) Known(addr netip.Addr) *Caller {
	if v := c.view.Load(); v.trusted {
		return v.callers[addr]
	}
	return nil
}

// Wanted returns the ports that links name, each with a container that has such a link: all of
// containers that run, and of those that were created and may be started. The map is not to be
// changed.
func (c *Callers) Wanted() map[int]string { return c.view.Load().wanted }

// Row is a caller as people see it.
type Row struct {
	Address netip.Addr
	*Caller
}

// Rows returns the callers by address.
func (c *Callers) Rows() []Row {
	callers := c.view.Load().callers
	rows := make([]Row, 0, len(callers))
	for _, addr := range slices.SortedFunc(maps.Keys(callers), netip.Addr.Compare) {
		rows = append(rows, Row{addr, callers[addr]})
	}
	return rows
}

// Following says whether events are told.
func (c *Callers) Following() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.following
}

// Times of the table of callers.
const (
	listTimeout = 4 * time.Second
	listAgain   = time.Second      // after one that failed
	resync      = 15 * time.Second // even if no event asks for it
	// Between two listings there are ten times as long as the last one took, within bounds.
	paceLeast, paceMost = 20 * time.Millisecond, 200 * time.Millisecond
	// A container's first connection can come before Docker lists it as running. So whoever is not
	// listed is looked up for so long, and once at least, however slow Docker is; and longer while
	// a container is being started: but not for ever.
	newcomerPatience = time.Second
	lookUpTimeout    = 15 * time.Second
	// Who was there waits less for a listing that nothing comes of.
	residentPatience = 200 * time.Millisecond
)
