package identity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// Callers keeps the table of callers.
//
// While events are missed nothing is believed without a new listing, with one exception: if Docker
// does not answer, those who were there go on for as long as no container has come since.
type Callers struct {
	Settings
	host       host
	newestLink func() int // the host's, but in tests

	wake chan struct{}        // capacity 1: a listing is wanted
	view atomic.Pointer[view] // of the table

	mu        sync.Mutex
	table     *table
	next      *listing // the listing that begins next
	following bool     // events are told
	epoch     int      // counts connections to the Engine
	listed    int      // the epoch in which the table was listed
	link      int      // the newest when that began
	err       error    // of the last listing
}

// listing is a listing that somebody waits for.
type listing struct {
	done chan struct{}
	err  error // valid once done is closed
}

func newListing() *listing { return &listing{done: make(chan struct{})} }

// New makes Callers. It does no I/O.
func New(settings Settings) *Callers {
	c := &Callers{
		Settings: settings,
		wake:     make(chan struct{}, 1),
		table:    newTable(),
		next:     newListing(),
		err:      errors.New("containers were not listed yet"),
	}
	c.newestLink = c.host.newestLink
	c.view.Store(&view{})
	return c
}

// Ready says why callers are not known, nil if they are.
func (c *Callers) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Run keeps the table until ctx ends.
func (c *Callers) Run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { c.follow(ctx) })
	group.Go(func() { c.list(ctx) })
	group.Wait()
}

func (c *Callers) follow(ctx context.Context) {
	filters := url.Values{
		"type":  {"container", "network"},
		"event": {"create", "start", "die", "destroy", "rename", "connect", "disconnect"},
	}
	if err := c.Engine.Watch(ctx, filters, c.hint); ctx.Err() == nil {
		c.Log.Error("events of Docker ended", "err", err)
	}
}

// hint takes an event of Docker. It does not block.
func (c *Callers) hint(event docker.Event) {
	c.mu.Lock()
	switch event.Type {
	case docker.Connected:
		c.following = true
		c.epoch++
	case docker.Disconnected:
		c.following = false
	default:
		c.table.apply(event, time.Now())
	}
	c.publish()
	c.mu.Unlock()
	c.Changed()
	c.poke()
}

// publish makes known what the table says. c.mu is held.
func (c *Callers) publish() {
	c.view.Store(&view{
		trusted: c.following && c.listed == c.epoch,
		callers: maps.Clone(c.table.owners),
		wanted:  c.table.wanted(),
	})
}

// Find returns the container that has the address. It errs with ErrStranger if there is certainly
// none, with ErrHost if it is an address of this host, and with ErrUnknown if that could not be
// found out. It blocks for as long as a newcomer may take to be listed, or until ctx ends.
// Those who were there wait less for a Docker that does not answer, and not at all if it is known
// not to.
func (c *Callers) Find(ctx context.Context, addr netip.Addr) (*Caller, error) {
	if who := c.Known(addr); who != nil {
		return who, nil
	}
	if c.host.has(addr) {
		return nil, ErrHost
	}
	patience := lookUpTimeout
	if who, lists := c.resident(addr); who != nil {
		if !lists {
			return who, nil
		}
		patience = residentPatience
	}
	came := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := c.refresh(ctx)
		who := c.look(addr, came)
		if err != nil {
			who, _ = c.resident(addr)
		}
		switch {
		case who != nil:
			return who, nil
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
		case time.Since(came) >= newcomerPatience && (ctx.Err() != nil || !c.expecting()):
			return nil, ErrStranger
		}
	}
}

// expecting says whether a container is being started, whose address is not known yet.
func (c *Callers) expecting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.expecting(time.Now())
}

// look returns the owner of the address by the table, unless that came after the one who asks, who may
// have had the address before and be gone.
func (c *Callers) look(addr netip.Addr, came time.Time) *Caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table.gotAfter(addr, came) {
		return nil
	}
	return c.table.owners[addr]
}

// resident returns the owner of the address if it certainly has it still, whatever was missed since
// the table was listed. lists says whether Docker has answered the last time.
func (c *Callers) resident(addr netip.Addr) (who *Caller, lists bool) {
	link := c.newestLink()
	c.mu.Lock()
	defer c.mu.Unlock()
	if link != c.link || link < 0 {
		return nil, c.err == nil
	}
	return c.table.owners[addr], c.err == nil
}

// refresh waits for a listing that began after the call.
func (c *Callers) refresh(ctx context.Context) error {
	c.mu.Lock()
	next := c.next
	c.mu.Unlock()
	c.poke()
	select {
	case <-next.done:
		return next.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Callers) poke() {
	select {
	case c.wake <- struct{}{}:
	default: // one is wanted already
	}
}

// list lists the containers, when that is wanted and from time to time.
func (c *Callers) list(ctx context.Context) {
	for {
		began, patience := time.Now(), resync
		if err := c.listOnce(ctx); err != nil {
			patience = listAgain
		}
		pause(ctx, nil, min(max(10*time.Since(began), paceLeast), paceMost))
		pause(ctx, c.wake, patience)
		if ctx.Err() != nil {
			return
		}
	}
}

// pause waits for so long, or until ctx ends or somebody wakes it.
func pause(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

// listOnce lists for all who wait.
func (c *Callers) listOnce(ctx context.Context) error {
	link := c.newestLink()
	c.mu.Lock()
	current, epoch, seq := c.next, c.epoch, c.table.seq
	c.next = newListing()
	c.mu.Unlock()

	limited, cancel := context.WithTimeout(ctx, listTimeout)
	listed, err := c.Engine.Containers(limited, labelCluster)
	cancel()

	c.mu.Lock()
	if err == nil {
		c.table.replace(listed, seq, time.Now(), func(name string, err error) {
			c.Log.Warn("links of a container are unreadable", "container", name, "err", err)
		})
		c.listed, c.link = epoch, link
		c.publish()
	}
	if ctx.Err() == nil { // else it was us who broke it off
		c.note(err)
	}
	current.err = err
	close(current.done)
	c.mu.Unlock()
	c.Changed()
	return err
}

// note keeps the result of a listing. Between two that fail nothing is logged. c.mu is held.
func (c *Callers) note(err error) {
	switch {
	case err != nil && c.err == nil:
		c.Log.Warn("containers cannot be listed", "err", err)
	case err == nil && c.err != nil:
		c.Log.Info("containers are listed", "callers", len(c.table.owners))
	}
	if err != nil {
		c.Failed()
	}
	c.err = err
}
