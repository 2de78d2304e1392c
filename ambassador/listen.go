package ambassador

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/ambassador/handover"
	"github.com/dokkaa/dokkaa/ambassador/relay"
)

// lookEvery is how often to look for the address, and for ports that were taken.
const lookEvery = time.Second

var errNotServing = errors.New("not listening yet")

// listeners accepts connections on a range of ports of an address that may come and go.
type listeners struct {
	ports  PortRange
	addr   func() (netip.Addr, error) // the address to listen on now
	accept func(*net.TCPListener) (stop func(), err error)
	log    *slog.Logger

	work sync.Mutex // held while listeners are opened, closed or handed over

	mu        sync.Mutex
	serving   bool // or another process does
	bound     netip.Addr
	open      map[int]door                       // by port of the range
	inherited map[netip.AddrPort]handover.Socket // to open doors with
	err       error                              // why not every port is open
}

func newListeners(ports PortRange, addr func() (netip.Addr, error), accept func(*net.TCPListener) (func(), error), log *slog.Logger) *listeners {
	return &listeners{
		ports:  ports,
		addr:   addr,
		accept: accept,
		log:    log,
		open:   make(map[int]door),
		err:    errNotServing,

		inherited: make(map[netip.AddrPort]handover.Socket),
	}
}

// ready says why not every port is open, nil if they all are.
func (l *listeners) ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// address is the address listened on, not valid if there is none.
func (l *listeners) address() netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bound
}

// addrs returns the open listeners' addresses.
func (l *listeners) addrs() []netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	var addrs []netip.AddrPort
	for port := l.ports.From; port <= l.ports.To; port++ {
		if door, ok := l.open[port]; ok {
			addrs = append(addrs, door.addr)
		}
	}
	return addrs
}

// run keeps the listeners in line with the address until ctx ends, from the first Serve on.
func (l *listeners) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.look(ctx)
		}
	}
}

// look brings the listeners in line with the address.
func (l *listeners) look(ctx context.Context) {
	l.work.Lock()
	defer l.work.Unlock()
	if l.isServing() {
		l.align(ctx)
	}
}

// align is look while work is held.
func (l *listeners) align(ctx context.Context) {
	addr, err := l.addr()
	if err == nil && addr == l.address() && l.ready() == nil {
		return
	}
	if addr != l.address() || err != nil {
		l.unbind()
	}
	if err == nil {
		err = l.bind(ctx, addr)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.log.Info("listening", "addr", addr, "ports", l.ports.String())
	case l.err == nil || l.err.Error() != err.Error():
		l.log.Warn("not listening on every port", "err", err)
	}
	l.err = err
}

// bind opens those listeners that are not, and starts to accept on them.
func (l *listeners) bind(ctx context.Context, addr netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound = addr
	var errs []error
	for port := l.ports.From; port <= l.ports.To; port++ {
		if _, ok := l.open[port]; ok {
			continue
		}
		door, err := l.openDoor(ctx, netip.AddrPortFrom(addr, uint16(port)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l.open[port] = door
	}
	if len(errs) > 3 {
		errs = append(errs[:3], fmt.Errorf("and %d more", len(errs)-3))
	}
	return errors.Join(errs...)
}

// unbind closes the listeners. Connections that wait in their queues are still accepted.
func (l *listeners) unbind() {
	l.mu.Lock()
	var stopping sync.WaitGroup
	for _, door := range l.open {
		stopping.Go(door.close)
	}
	clear(l.open)
	l.bound = netip.Addr{}
	l.mu.Unlock()
	stopping.Wait()
}

// listen opens a listener that another process may share, so that an old and a new ambassador
// can run side by side.
func listen(ctx context.Context, addr netip.AddrPort) (*net.TCPListener, error) {
	config := net.ListenConfig{
		Control: func(_, _ string, conn syscall.RawConn) error {
			var failure error
			err := conn.Control(func(fd uintptr) {
				failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
			return errors.Join(err, failure)
		},
		KeepAliveConfig: relay.KeepAlive,
	}
	config.SetMultipathTCP(false) // what the kernel cannot splice
	listener, err := config.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err // names the address itself
	}
	return listener.(*net.TCPListener), nil
}

// interfaceAddr returns the first IPv4 address of the network interface.
func interfaceAddr(name string) (netip.Addr, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find interface %s: %w", name, err)
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read addresses of interface %s: %w", name, err)
	}
	for _, addr := range addrs {
		if prefix, ok := addr.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(prefix.IP); ok && ip.Unmap().Is4() {
				return ip.Unmap(), nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("interface %s has no IPv4 address", name)
}
