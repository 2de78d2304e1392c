package ambassador

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dokkaa/dokkaa/ambassador/relay"
	"github.com/dokkaa/dokkaa/internal/handover"
)

// door is an open listener, or a socket for datagrams.
type door struct {
	stop func()          // returns when nothing is taken any more
	kept handover.Socket // the socket itself, to hand over
}

// close returns when nothing is taken any more.
func (d door) close() {
	d.stop()
	d.kept.Close()
}

// openDoor opens a door, with the socket that another ambassador had if there is one. l.mu is held.
func (l *listeners) openDoor(ctx context.Context, name handover.Name) (door, error) {
	if kept, ok := l.inherited[name]; ok {
		delete(l.inherited, name)
		opened, err := l.openWith(kept)
		if err == nil {
			return opened, nil
		}
		l.log.Warn("a socket that was handed over is of no use", "err", err)
	}
	kept, err := openSocket(ctx, name)
	if err != nil {
		return door{}, err
	}
	return l.openWith(kept)
}

// openSocket makes a socket to take connections or datagrams with.
func openSocket(ctx context.Context, name handover.Name) (kept handover.Socket, err error) {
	if name.Kind == handover.UDP {
		conn, err := listenPackets(ctx, name.Addr)
		if err != nil {
			return kept, err
		}
		defer conn.Close() // the socket has another descriptor
		name.Addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
		return handover.Of(name, conn)
	}
	listener, err := listen(ctx, name.Addr)
	if err != nil {
		return kept, err
	}
	defer listener.Close() // likewise
	name.Addr = listener.Addr().(*net.TCPAddr).AddrPort()
	return handover.Of(name, listener)
}

// openWith takes what comes to the socket, which is the door's; it is closed if that fails.
func (l *listeners) openWith(kept handover.Socket) (door, error) {
	stop, err := l.take(kept)
	if err != nil {
		kept.Close()
		return door{}, err
	}
	return door{stop: stop, kept: kept}, nil
}

// take is openWith without that.
func (l *listeners) take(kept handover.Socket) (stop func(), err error) {
	if kept.Kind == handover.UDP {
		conn, err := kept.PacketConn()
		if err != nil {
			return nil, err
		}
		return l.carry(conn), nil
	}
	listener, err := kept.Listener()
	if err != nil {
		return nil, err
	}
	return l.accept(listener)
}

// listen opens a listener that another process may share, so that an old and a new ambassador
// can run side by side.
func listen(ctx context.Context, addr netip.AddrPort) (*net.TCPListener, error) {
	config := net.ListenConfig{Control: share, KeepAliveConfig: relay.KeepAlive}
	config.SetMultipathTCP(false) // what the kernel cannot splice
	listener, err := config.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err // names the address itself
	}
	return listener.(*net.TCPListener), nil
}

// listenPackets is listen for datagrams.
func listenPackets(ctx context.Context, addr netip.AddrPort) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: share}
	conn, err := config.ListenPacket(ctx, "udp", addr.String())
	if err != nil {
		return nil, err // names the address itself
	}
	return conn.(*net.UDPConn), nil
}

func share(network, _ string, conn syscall.RawConn) error {
	var failure error
	err := conn.Control(func(fd uintptr) {
		failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		if strings.HasSuffix(network, "6") { // a bridge has its address only while somebody is on it
			failure = errors.Join(failure, freeBind(int(fd)))
		}
	})
	return errors.Join(err, failure)
}
