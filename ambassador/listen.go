package ambassador

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/dokkaa/dokkaa/internal/handover"
)

const (
	// lookEvery is how often to look for the addresses, and for ports that were taken.
	lookEvery = time.Second
	// A port that no link names any more stays open for so long: its container may only be restarted.
	unwantedFor = 30 * time.Second
)

var errNotServing = errors.New("not listening yet")

// listeners takes connections and datagrams at the ports that links name, of addresses that may come
// and go.
type listeners struct {
	ports   PortRange
	addrs   func() ([]netip.Addr, error) // the addresses to listen on now
	wanted  func() map[int]string        // ports that links name, each with a container that has one
	accept  func(*net.TCPListener) (stop func(), err error)
	carry   func(*net.UDPConn) (stop func())
	metrics *metrics
	log     *slog.Logger
	grace   time.Duration // for ports that are not wanted any more

	wake chan struct{} // capacity 1: other ports may be wanted

	work    sync.Mutex     // held while listeners are opened, closed or handed over
	closing sync.WaitGroup // doors that are not wanted any more

	mu        sync.Mutex
	serving   bool // or another process does
	bound     []netip.Addr
	open      map[handover.Name]door
	unwanted  map[int]time.Time                 // open ports that no link names, and since when
	outside   map[int]string                    // wanted ones that are not of the range
	inherited map[handover.Name]handover.Socket // to open doors with
	err       error                             // why not every port is open
}

func newListeners(ports PortRange, addrs func() ([]netip.Addr, error), wanted func() map[int]string,
	accept func(*net.TCPListener) (func(), error), carry func(*net.UDPConn) func(), m *metrics, log *slog.Logger) *listeners {
	return &listeners{
		ports:   ports,
		addrs:   addrs,
		wanted:  wanted,
		accept:  accept,
		carry:   carry,
		metrics: m,
		log:     log,
		grace:   unwantedFor,
		wake:    make(chan struct{}, 1),

		open:      make(map[handover.Name]door),
		unwanted:  make(map[int]time.Time),
		inherited: make(map[handover.Name]handover.Socket),
		err:       errNotServing,
	}
}

// ready says why not every port is open that is wanted, nil if they all are. With no link in the
// whole host that is so as soon as there is an address to listen on.
func (l *listeners) ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// address is the address listened on, the first of them; not valid if there is none.
func (l *listeners) address() netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.bound) == 0 {
		return netip.Addr{}
	}
	return l.bound[0]
}

// addresses returns those of the open doors of a kind.
func (l *listeners) addresses(kind string) []netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	var addrs []netip.AddrPort
	for _, door := range l.open {
		if door.kept.Kind == kind {
			addrs = append(addrs, door.kept.Addr)
		}
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return addrs
}

// poke tells that other ports may be wanted. It does not block.
func (l *listeners) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run keeps the listeners in line with the addresses and the links until ctx ends, from the first
// Serve on.
func (l *listeners) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.look(ctx, l.align)
		case <-l.wake:
			l.look(ctx, l.alignPorts)
		}
	}
}

// look aligns the listeners if this process serves.
func (l *listeners) look(ctx context.Context, align func(context.Context)) {
	l.work.Lock()
	defer l.work.Unlock()
	if l.isServing() {
		align(ctx)
	}
}

// align brings the listeners in line with the addresses and the links. l.work is held.
func (l *listeners) align(ctx context.Context) {
	addrs, err := l.addrs()
	if isUnread(err) {
		l.note(err)
		return
	}
	l.mu.Lock()
	moved := err != nil || !slices.Equal(addrs, l.bound)
	l.mu.Unlock()
	if moved {
		l.unbind()
	}
	if err != nil {
		l.note(err)
		return
	}
	l.mu.Lock()
	l.bound = addrs
	l.mu.Unlock()
	if moved {
		l.log.Info("listening at the ports that links name", "addrs", addrs, "ports", l.ports.String())
	}
	l.alignPorts(ctx)
}

// isUnread says whether the addresses could not be read, for want of descriptors as likely as not: that is
// no reason to leave them.
func isUnread(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

// alignPorts is align while the addresses are as they were.
func (l *listeners) alignPorts(ctx context.Context) {
	l.mu.Lock()
	bound := l.bound
	l.mu.Unlock()
	if len(bound) == 0 {
		return // the reason stands
	}
	l.note(l.bind(ctx, l.choosePorts()))
	l.closeUnwanted(time.Now())
}

// note keeps why not every port is open.
func (l *listeners) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && l.err != nil && !errors.Is(l.err, errNotServing):
		l.log.Info("listening at every port that links name", "addrs", l.bound)
	case err != nil && (l.err == nil || l.err.Error() != err.Error()):
		l.log.Warn("not listening at every port that links name", "err", err)
	}
	l.err = err
}

// choosePorts returns the ports to listen at: those that links name within the range, and those
// that were handed over, until it is clear that they are not wanted.
func (l *listeners) choosePorts() map[int]string {
	ports, outside := make(map[int]string), make(map[int]string)
	for port, container := range l.wanted() {
		if port < l.ports.From || port > l.ports.To {
			outside[port] = container
			continue
		}
		ports[port] = container
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for port, container := range outside {
		if _, told := l.outside[port]; !told {
			l.log.Warn("a link is of no use: its port is not one of those to listen at", "port", port, "ports", l.ports.String(), "container", container)
		}
	}
	l.outside = outside
	for at := range l.inherited {
		if port := int(at.Addr.Port()); ports[port] == "" && port >= l.ports.From && port <= l.ports.To {
			ports[port] = "whoever it was before"
		}
	}
	return ports
}

// bind opens those listeners that are not, and starts to accept on them.
func (l *listeners) bind(ctx context.Context, ports map[int]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		for _, addr := range l.bound {
			if err := l.bindOne(ctx, netip.AddrPortFrom(addr, uint16(port)), ports[port]); err != nil {
				errs = append(errs, fmt.Errorf("%w (wanted by %s)", err, ports[port]))
			}
		}
	}
	l.metrics.ports.WithLabelValues("taken").Set(float64(len(errs)))
	if len(errs) > 3 {
		errs = append(errs[:3], fmt.Errorf("and %d more", len(errs)-3))
	}
	return errors.Join(errs...)
}

// bindOne opens those doors at an address that are not open: a link does not say whether it is used for
// connections or datagrams. l.mu is held.
func (l *listeners) bindOne(ctx context.Context, addr netip.AddrPort, container string) error {
	opened := false
	for _, kind := range []string{handover.TCP, handover.UDP} {
		at := handover.Name{Kind: kind, Addr: addr}
		if _, ok := l.open[at]; ok {
			continue
		}
		door, err := l.openDoor(ctx, at)
		if err != nil {
			return err
		}
		l.open[at], opened = door, true
	}
	if opened {
		l.log.Info("port opened", "addr", addr, "container", container)
	}
	return nil
}

// closeUnwanted closes the listeners that no link has named for a while.
func (l *listeners) closeUnwanted(now time.Time) {
	wanted := l.wanted()
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, door := range l.open {
		port := int(at.Addr.Port())
		if _, ok := wanted[port]; ok {
			delete(l.unwanted, port)
			continue
		}
		since, ok := l.unwanted[port]
		if !ok {
			l.unwanted[port] = now
			continue
		}
		if now.Sub(since) >= l.grace {
			delete(l.open, at)
			l.closing.Go(door.close) // whoever starts meanwhile does not wait for that
			if at.Kind == handover.TCP {
				l.log.Info("port closed", "addr", at.Addr)
			}
		}
	}
	maps.DeleteFunc(l.unwanted, func(port int, since time.Time) bool { return now.Sub(since) >= l.grace })
	l.count()
}

// count tells the metrics how many ports there are. l.mu is held.
func (l *listeners) count() {
	open := 0
	for at := range l.open {
		if at.Kind == handover.TCP {
			open++
		}
	}
	l.metrics.ports.WithLabelValues("open").Set(float64(open))
	l.metrics.ports.WithLabelValues("outside").Set(float64(len(l.outside)))
}

// unbind closes the listeners. Connections that wait in their queues are still accepted.
func (l *listeners) unbind() {
	l.mu.Lock()
	var stopping sync.WaitGroup
	for _, door := range l.open {
		stopping.Go(door.close)
	}
	clear(l.open)
	clear(l.unwanted)
	l.bound = nil
	l.count()
	l.mu.Unlock()
	stopping.Wait()
}
