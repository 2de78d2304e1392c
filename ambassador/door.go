package ambassador

import (
	"context"
	"net"
	"net/netip"

	"github.com/dokkaa/dokkaa/ambassador/handover"
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
