package ambassador

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/ambassador/handover"
	"github.com/dokkaa/dokkaa/ambassador/relay"
)

// door is an open listener.
type door struct {
	addr netip.AddrPort
	stop func()          // returns when nothing is accepted any more
	kept handover.Socket // the listener itself, to hand over
}

// close returns when nothing is accepted any more.
func (d door) close() {
	d.stop()
	d.kept.Close()
}

// openDoor accepts at an address, with the listener that another ambassador had if there is one.
// l.mu is held.
func (l *listeners) openDoor(ctx context.Context, addr netip.AddrPort) (door, error) {
	if kept, ok := l.inherited[addr]; ok {
		delete(l.inherited, addr)
		listener, err := kept.Listener()
		if err == nil {
			return l.acceptAt(listener, kept)
		}
		kept.Close()
		l.log.Warn("a listener that was handed over is of no use", "err", err)
	}
	listener, err := listen(ctx, addr)
	if err != nil {
		return door{}, err
	}
	kept, err := handover.Of(handover.Name{Kind: handover.TCP, Addr: listener.Addr().(*net.TCPAddr).AddrPort()}, listener)
	if err != nil {
		_ = listener.Close() // it was not used
		return door{}, err
	}
	return l.acceptAt(listener, kept)
}

func (l *listeners) acceptAt(listener *net.TCPListener, kept handover.Socket) (door, error) {
	stop, err := l.accept(listener)
	if err != nil {
		kept.Close()
		return door{}, err
	}
	return door{addr: kept.Addr, stop: stop, kept: kept}, nil
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
