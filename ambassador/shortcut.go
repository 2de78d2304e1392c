package ambassador

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/ambassador/identity"
	"github.com/dokkaa/dokkaa/ambassador/kernel"
	"github.com/dokkaa/dokkaa/internal/daemon"
	"github.com/dokkaa/dokkaa/internal/docker"
)

// kernelNetwork is the network whose containers the kernel may connect.
const kernelNetwork = "dokkaa"

// engine is what the ambassador asks of Docker.
type engine interface {
	identity.Engine
	AddressNow(ctx context.Context, id, network string) (netip.Addr, error)
}

// shortcut is the kernel path, and what that asks of the ambassador: a kernel.Source.
type shortcut struct {
	a      *Ambassador
	docker engine
	path   *kernel.Path // nil if all is to go through the ambassador

	mu     sync.Mutex
	listed map[string]docker.Container // as Docker listed them last, by ID
}

func newShortcut(a *Ambassador, e engine, env daemon.Env) *shortcut {
	s := &shortcut{a: a, docker: e}
	if a.settings.Mode == modeKernel || a.settings.Mode == modeAuto {
		s.docker = listedTo{e, s}
		s.path = kernel.NewPath(kernel.Settings{
			Bridge: a.settings.Interface,
			Ports:  [2]uint16{uint16(a.settings.PortRange.From), uint16(a.settings.PortRange.To)},
			Limit:  a.settings.MaxConnectionsPerContainer,
		}, s, env.Log.With("path", "kernel"))
	}
	return s
}

// listedTo is an engine whose lists the shortcut sees, too.
type listedTo struct {
	engine
	to *shortcut
}

// Containers lists them.
func (l listedTo) Containers(ctx context.Context, label string) ([]docker.Container, error) {
	containers, err := l.engine.Containers(ctx, label)
	if err != nil {
		return nil, err
	}
	listed := make(map[string]docker.Container, len(containers))
	for _, c := range containers {
		listed[c.ID] = c
	}
	l.to.mu.Lock()
	defer l.to.mu.Unlock()
	l.to.listed = listed
	return containers, nil
}

// run keeps the kernel's rules until ctx ends.
func (s *shortcut) run(ctx context.Context) {
	if s.path != nil {
		s.path.Run(ctx)
	}
}

// ready says why nothing is the kernel's, if that is insisted on.
func (s *shortcut) ready() error {
	if s.path == nil || s.a.settings.Mode != modeKernel {
		return nil
	}
	if err := s.path.Ready(); err != nil {
		return fmt.Errorf("kernel path: %w", err)
	}
	return nil
}

func (s *shortcut) status() *kernel.Status {
	if s.path == nil {
		return nil
	}
	status := s.path.Status()
	return &status
}

// Gateway is the address listened on, while this ambassador serves.
func (s *shortcut) Gateway() (netip.Addr, bool) {
	addr := s.a.listeners.address()
	return addr, addr.Is4() && s.a.listeners.isServing()
}

// Containers are those who may call, and those who may be called.
func (s *shortcut) Containers() []kernel.Container {
	rows := s.a.callers.Rows()
	s.mu.Lock()
	defer s.mu.Unlock()
	containers := make([]kernel.Container, 0, len(rows))
	for _, row := range rows {
		listed := s.listed[row.ID]
		if addrs := listed.Addrs[kernelNetwork]; len(addrs) == 0 || addrs[0] != row.Address {
			continue // it calls from another network, or is not listed any more
		}
		c := kernel.Container{ID: row.ID, Addr: row.Address, Published: listed.Published, Links: make(map[uint16]string, len(row.Links))}
		for port, name := range row.Links {
			if s.a.settings.PortRange.has(port) && !row.Sticky[port] { // the kernel has no memory of callers
				c.Links[uint16(port)] = name
			}
		}
		containers = append(containers, c)
	}
	return containers
}

// Service asks for the service's endpoints.
func (s *shortcut) Service(ctx context.Context, name string) kernel.Service {
	switch {
	case s.a.settings.IdleTimeout > 0:
		return kernel.Service{Why: "connections that are idle are to be ended"}
	case s.a.settings.AccessLog > 0:
		return kernel.Service{Why: "connections are to be logged"}
	}
	pool, err := s.a.names.Lookup(ctx, name)
	if err != nil {
		return kernel.Service{Why: err.Error()}
	}
	if !pool.Settled(time.Now()) {
		return kernel.Service{Why: "an instance is new, and gets its share little by little"}
	}
	var service kernel.Service
	for _, e := range pool.Status() {
		if e.SetAside {
			return kernel.Service{Why: fmt.Sprintf("%s could not be dialled, and is to be tried again", e.Addr)}
		}
		service.Endpoints = append(service.Endpoints, kernel.Endpoint{Addr: e.Addr, Priority: e.Priority, Weight: e.Weight})
	}
	return service
}

// Address asks Docker.
func (s *shortcut) Address(ctx context.Context, id string) (netip.Addr, error) {
	return s.docker.AddressNow(ctx, id, kernelNetwork)
}

// Failed sets the endpoint aside: the service is the ambassador's until a connection of its own succeeds.
func (s *shortcut) Failed(i kernel.Instance) {
	s.a.log.Info("an instance did not accept a connection of the kernel's", "service", i.Service, "endpoint", i.Announced)
	s.a.metrics.dialErrors.Inc()
	s.a.ledger.Service(i.Service).Backend(i.Announced).Failed()
	if known, ok := s.a.names.Known()[i.Service]; ok {
		known.Failed(i.Announced, time.Now())
	}
}

// Carried counts what the kernel did.
func (s *shortcut) Carried(i kernel.Instance, more kernel.Traffic, open int) {
	s.a.metrics.accepted.Add(float64(more.Opened))
	s.a.metrics.up.Add(float64(more.Up))
	s.a.metrics.down.Add(float64(more.Down))
	s.a.ledger.Service(i.Service).Backend(i.Announced).Passed(more.Opened, open)
	s.a.ledger.Service(i.Service).Backend(i.Announced).Carried(int64(more.Up), int64(more.Down))
}
