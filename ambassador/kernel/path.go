package kernel

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Times of the path. An instance is withdrawn within askEvery, the name server's answer and passEvery.
const (
	passEvery   = 100 * time.Millisecond
	askEvery    = 200 * time.Millisecond // for the instances of each service; most answers are at hand
	lookEvery   = time.Second            // for what changes seldom, and what the kernel counted
	retryAfter  = time.Second            // the kernel did not do what it was told
	openEvery   = 10 * time.Second       // for how many connections are open: the kernel looks at all that it knows of
	askTimeout  = 2 * time.Second
	asksAtOnce  = 16
	forgetAfter = 10 * time.Minute // a withdrawn instance whose connections carry nothing
)

// Container is one of this host's as the ambassador knows it.
type Container struct {
	ID        string
	Addr      netip.Addr
	Links     map[uint16]string         // service by port; without those that are not for the kernel
	Published map[netip.AddrPort]uint16 // its own TCP port, by the address and port of the host
}

// Source is the ambassador, as the path sees it. It has to allow concurrent calls.
type Source interface {
	// Gateway is the address that containers dial, while this ambassador is the one who serves there.
	Gateway() (netip.Addr, bool)
	Containers() []Container
	// Service asks for the service. It may block until ctx ends.
	Service(ctx context.Context, name string) Service
	// Address asks Docker for the address that the container has now, if it runs.
	Address(ctx context.Context, id string) (netip.Addr, error)
	// Failed is told of an instance that did not accept a connection.
	Failed(i Instance)
	// Carried is told what the kernel counted since the last call, and how many connections were open
	// when they were counted last.
	Carried(i Instance, more Traffic, open int)
}

// Path is the kernel path of an ambassador: it keeps a Table in line with what its Source knows.
type Path struct {
	settings Settings
	source   Source
	log      *slog.Logger

	mu       sync.Mutex
	bound    map[string]Caller  // containers whose port of the bridge is known, by ID
	services map[string]Service // that are linked
	why      map[string]string  // services that are not the kernel's, and why
	rules    Rules
	err      error // why nothing is the kernel's

	portsRead time.Time // bind's alone

	// What follows is the loop's alone.
	table   *Table
	host    Host
	counted map[Instance]count
	open    map[Instance]int
	opened  time.Time // when open was read
	looked  time.Time
	pause   time.Time // until when the kernel is not asked again
}

// NewPath makes a Path; it does no I/O. Name and Gateway of the settings are the path's to fill in.
func NewPath(settings Settings, source Source, log *slog.Logger) *Path {
	return &Path{settings: settings, source: source, log: log,
		bound:    make(map[string]Caller),
		services: make(map[string]Service),
		err:      errors.New("no rules were written yet"),
	}
}

// Status is what the path does now.
type Status struct {
	Error    string            `json:"error,omitempty"` // why nothing is the kernel's
	Services []string          `json:"services"`        // that are the kernel's, by name
	Not      map[string]string `json:"not,omitempty"`   // services that are not, and why
	Links    int               `json:"links"`           // of containers to services of the kernel's
	Callers  int               `json:"callers"`         // containers whose port of the bridge is known
}

// Status may be called at any time.
func (p *Path) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Services: slices.Sorted(maps.Keys(p.rules.Services)), Not: maps.Clone(p.why), Links: len(p.rules.Links), Callers: len(p.bound)}
	if p.err != nil {
		s.Error = p.err.Error()
	}
	return s
}

// Ready says why nothing is the kernel's, nil if what can be is.
func (p *Path) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Run keeps the table until ctx ends, and then removes it. Connections that are open go on.
func (p *Path) Run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { every(ctx, lookEvery/4, func() { p.bind(ctx) }) })
	group.Go(func() { every(ctx, askEvery, func() { p.ask(ctx) }) })
	every(ctx, passEvery, func() { p.pass(time.Now()) })
	p.rest()
	if err := Leave(); err != nil {
		p.log.Warn("leave the kernel's rules", "err", err)
	}
	group.Wait()
}

// every does it now, and then again and again until ctx ends.
func every(ctx context.Context, pace time.Duration, do func()) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// pass brings the table in line.
func (p *Path) pass(now time.Time) {
	gateway, serving := p.source.Gateway()
	if !serving {
		p.rest()
		p.note(errors.New("another ambassador serves, or none yet"))
		return
	}
	if now.Before(p.pause) {
		return
	}
	err := p.write(gateway, now)
	if err != nil {
		p.pause = now.Add(retryAfter)
		p.table.written = false // somebody may have removed it
	}
	p.note(err)
}

// write has the kernel do what it should, as far as that is known.
func (p *Path) write(gateway netip.Addr, now time.Time) error {
	if p.table != nil && p.table.settings.Gateway != gateway {
		p.rest()
	}
	if p.table == nil {
		settings := p.settings
		settings.Gateway, settings.Name = gateway, strconv.FormatUint(rand.Uint64(), 36)
		p.table = New(settings, rand.Uint32())
		p.counted = make(map[Instance]count)
	}
	look := now.Sub(p.looked) >= lookEvery
	if look {
		p.looked = now
		p.look()
	}
	containers := p.source.Containers()
	p.mu.Lock()
	p.host.Published = p.published(containers)
	rules, why := Plan(p.callers(containers), p.services, p.host)
	p.mu.Unlock()
	if err := p.table.Apply(rules); err != nil {
		return err
	}
	p.mu.Lock()
	p.rules, p.why = rules, why
	p.mu.Unlock()
	failing, err := p.table.Failing()
	for _, i := range failing {
		p.source.Failed(i)
	}
	if err != nil || !look {
		return err
	}
	return errors.Join(p.table.Renew(), p.count(now), p.table.Clean())
}

// look reads what changes seldom.
func (p *Path) look() {
	if err := AllowInward(p.settings.Bridge); err != nil {
		if p.host.Inward || p.host.Why == "" {
			p.log.Warn("the kernel cannot connect containers of this host to each other", "err", err)
		}
		p.host.Inward, p.host.Why = false, "an instance is on this host, and "+err.Error()
	} else {
		p.host.Inward = true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		p.log.Warn("read addresses of this host", "err", err)
		return
	}
	p.host.Addrs = nil
	for _, addr := range addrs {
		if prefix, ok := addr.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(prefix.IP); ok {
				p.host.Addrs = append(p.host.Addrs, ip.Unmap())
			}
		}
	}
}

// published is where the containers' ports are that the host publishes, on any of its addresses. Those
// of which the port of the bridge is not known are left out. p.mu is held.
func (p *Path) published(containers []Container) map[netip.AddrPort]Inside {
	all := make(map[netip.AddrPort]Inside)
	for _, c := range containers {
		bound, ok := p.bound[c.ID]
		if !ok || bound.Addr != c.Addr {
			continue
		}
		for at, port := range c.Published {
			inside := Inside{netip.AddrPortFrom(c.Addr, port), bound.Port}
			if !at.Addr().IsUnspecified() {
				all[at] = inside
				continue
			}
			for _, addr := range p.host.Addrs {
				all[netip.AddrPortFrom(addr, at.Port())] = inside
			}
		}
	}
	return all
}

// callers are those containers that are known to be behind their port. p.mu is held.
func (p *Path) callers(containers []Container) []Caller {
	callers := make([]Caller, 0, len(containers))
	for _, c := range containers {
		if caller, ok := p.bound[c.ID]; ok && caller.Addr == c.Addr {
			caller.Links = c.Links
			callers = append(callers, caller)
		}
	}
	return callers
}

// rest removes what is written, but for what another ambassador may need.
func (p *Path) rest() {
	if p.table == nil {
		return
	}
	if err := errors.Join(p.count(time.Now()), p.table.Delete()); err != nil {
		p.log.Warn("remove the kernel's rules", "err", err)
	}
	p.table, p.looked, p.opened = nil, time.Time{}, time.Time{}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.why = Rules{}, nil
}

// note keeps how the last pass went.
func (p *Path) note(err error) {
	p.mu.Lock()
	was := p.err
	p.err = err
	p.mu.Unlock()
	switch {
	case err == nil && was != nil:
		p.log.Info("the kernel connects containers to their links")
	case err != nil && (was == nil || was.Error() != err.Error()):
		p.log.Warn("the kernel connects nothing, all goes through the proxy", "err", err)
	}
}

// ask asks for the services that are linked.
func (p *Path) ask(ctx context.Context) {
	names := make(map[string]bool)
	for _, c := range p.source.Containers() {
		for _, name := range c.Links {
			names[name] = true
		}
	}
	p.mu.Lock()
	maps.DeleteFunc(p.services, func(name string, _ Service) bool { return !names[name] })
	p.mu.Unlock()
	var group sync.WaitGroup
	turn := make(chan struct{}, asksAtOnce)
	for name := range names {
		turn <- struct{}{}
		group.Go(func() {
			limited, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			service := p.source.Service(limited, name)
			p.mu.Lock()
			p.services[name] = service
			p.mu.Unlock()
			<-turn
		})
	}
	group.Wait()
}
