package ambassador

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dokkaa/dokkaa/internal/docker"
)

// What the conductor writes onto the containers that it makes.
const (
	network       = "dokkaa"          // that they are on
	labelCluster  = "dokkaa.cluster"  // every container of ours has it
	labelBackends = "dokkaa.backends" // the allowed links: {"10001": "nginx.dummy.skydns.local"}
)

// Times of the table of callers.
const (
	listTimeout = 2 * time.Second
	listPace    = 100 * time.Millisecond // between two listings
	listAgain   = time.Second            // after one that failed
	resync      = 15 * time.Second       // even if no event asks for it
	// A container's first connection can come before Docker lists it as running.
	newcomerPatience = time.Second
	// Docker tells that a container ended before its own list shows it. Who ended is believed
	// to be gone for so long, whatever a list says, unless an event tells that it is back.
	endedFor = 5 * time.Second
)

// errStranger is the refusal of an address that no container of ours has.
var errStranger = errors.New("not a container of this cluster")

// errUnknown is the refusal of an address of which that could not be found out.
var errUnknown = errors.New("find caller")

// caller is a container that may connect.
type caller struct {
	id       string
	name     string
	backends map[int]string // port -> DNS name
}

// callers knows the containers by their address.
//
// An address is used again once its container is gone, and the next one must not inherit the
// links. So an entry holds from the listing that showed it until an event tells that its
// container ended or left the network; Docker tells of that before it hands out the address
// again and starts something on it. While events are missed nothing is believed without a new
// listing, with one exception: if Docker does not answer at all, nothing new was started, and
// those who were there go on.
type callers struct {
	list   func(context.Context) ([]docker.Container, error)
	log    *slog.Logger
	errors prometheus.Counter

	wake chan struct{} // capacity 1: a listing is wanted

	mu        sync.Mutex
	byAddr    map[netip.Addr]*caller
	ended     map[string]time.Time // containers that ended lately, and when
	next      *listing             // the listing that begins next
	following bool                 // events are told
	epoch     int                  // counts connections to the Engine
	listed    int                  // the epoch in which the table was listed
	err       error                // of the last listing
}

// listing is a listing that somebody waits for.
type listing struct {
	done chan struct{}
	err  error // valid once done is closed
}

func newCallers(list func(context.Context) ([]docker.Container, error), log *slog.Logger, errs prometheus.Counter) *callers {
	return &callers{
		list:   list,
		log:    log,
		errors: errs,
		wake:   make(chan struct{}, 1),
		byAddr: make(map[netip.Addr]*caller),
		ended:  make(map[string]time.Time),
		next:   &listing{done: make(chan struct{})},
		err:    errors.New("containers were not listed yet"),
	}
}

// ready says why callers are not known, nil if they are.
func (c *callers) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// find returns the container that has the address. It errs with errStranger if there is
// certainly none, and with errUnknown if that could not be found out.
func (c *callers) find(ctx context.Context, addr netip.Addr) (*caller, error) {
	if who := c.known(addr); who != nil {
		return who, nil
	}
	ctx, cancel := context.WithTimeout(ctx, newcomerPatience)
	defer cancel()
	for listed := false; ; listed = true {
		err := c.refresh(ctx)
		who, certain := c.look(addr)
		switch {
		case who != nil && (err == nil || certain):
			return who, nil
		case err != nil && listed && ctx.Err() != nil:
			return nil, errStranger
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errUnknown, err)
		}
	}
}

// known returns the entry of the address if it needs no listing.
func (c *callers) known(addr netip.Addr) *caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.following || c.listed != c.epoch {
		return nil
	}
	return c.byAddr[addr]
}

// look returns the entry of the address, and whether it may be believed though Docker does
// not answer: not if it did since the table was listed, for it may have started something.
func (c *callers) look(addr netip.Addr) (who *caller, certain bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byAddr[addr], c.listed == c.epoch
}

// refresh waits for a listing that began after the call.
func (c *callers) refresh(ctx context.Context) error {
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

func (c *callers) poke() {
	select {
	case c.wake <- struct{}{}:
	default: // one is wanted already
	}
}

// run keeps the table until ctx ends.
func (c *callers) run(ctx context.Context) {
	for {
		patience := resync
		if err := c.listOnce(ctx); err != nil {
			patience = listAgain
		}
		pace := time.NewTimer(listPace)
		select {
		case <-ctx.Done():
			pace.Stop()
			return
		case <-pace.C:
		}
		again := time.NewTimer(patience)
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-again.C:
		}
		again.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// listOnce lists for all who wait. Between two listings that fail nothing is logged.
func (c *callers) listOnce(ctx context.Context) error {
	c.mu.Lock()
	current, epoch := c.next, c.epoch
	c.next = &listing{done: make(chan struct{})}
	maps.DeleteFunc(c.ended, func(_ string, at time.Time) bool { return time.Since(at) > endedFor })
	c.mu.Unlock()

	limited, cancel := context.WithTimeout(ctx, listTimeout)
	containers, err := c.list(limited)
	cancel()

	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.replace(containers)
		c.listed = epoch
	}
	if ctx.Err() == nil { // else it was us who broke it off
		c.note(err)
	}
	current.err = err
	close(current.done)
	return err
}

// note keeps the result of a listing. c.mu is held.
func (c *callers) note(err error) {
	switch {
	case err != nil && c.err == nil:
		c.log.Warn("containers cannot be listed", "err", err)
	case err == nil && c.err != nil:
		c.log.Info("containers are listed", "callers", len(c.byAddr))
	}
	if err != nil {
		c.errors.Inc()
	}
	c.err = err
}

// replace makes the table anew. Containers that ended lately are left
// out, and so is an address that two of them claim. c.mu is held.
func (c *callers) replace(containers []docker.Container) {
	clear(c.byAddr)
	claims := make(map[netip.Addr]int)
	for _, container := range containers {
		addr, ok := container.Addrs[network]
		if _, ended := c.ended[container.ID]; ended || !ok {
			continue
		}
		if claims[addr]++; claims[addr] > 1 {
			delete(c.byAddr, addr)
			continue
		}
		backends, err := parseBackends(container.Labels[labelBackends])
		if err != nil {
			c.log.Warn("links of a container are unreadable, it has none", "container", container.Name, "err", err)
		}
		c.byAddr[addr] = &caller{id: container.ID, name: container.Name, backends: backends}
	}
}

// hint takes an event of Docker. It does not block.
func (c *callers) hint(event docker.Event) {
	c.mu.Lock()
	switch {
	case event.Type == docker.Connected:
		c.following = true
		c.epoch++
	case event.Type == docker.Disconnected:
		c.following = false
	case event.Type == "container" && (event.Action == "die" || event.Action == "destroy"):
		c.forget(event.ID)
	case event.Type == "container" && event.Action == "start":
		delete(c.ended, event.ID)
	case event.Type == "network" && event.Action == "disconnect":
		c.forget(event.Attributes["container"])
	case event.Type == "network" && event.Action == "connect":
		delete(c.ended, event.Attributes["container"])
	}
	c.mu.Unlock()
	c.poke()
}

// forget drops the container. c.mu is held.
func (c *callers) forget(id string) {
	c.ended[id] = time.Now()
	for addr, who := range c.byAddr {
		if who.id == id {
			delete(c.byAddr, addr)
		}
	}
}

// parseBackends reads the label of the links, "" being none.
func parseBackends(label string) (map[int]string, error) {
	if label == "" {
		return nil, nil
	}
	var names map[string]string
	if err := json.Unmarshal([]byte(label), &names); err != nil {
		return nil, fmt.Errorf("parse label %s: %w", labelBackends, err)
	}
	backends := make(map[int]string, len(names))
	for key, name := range names {
		port, err := strconv.Atoi(key)
		if err != nil || port < 1 || port > 65535 || name == "" {
			return nil, fmt.Errorf("parse label %s: %q: %q is no link", labelBackends, key, name)
		}
		backends[port] = name
	}
	return backends, nil
}
