package udp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Server carries datagrams.
type Server struct {
	Settings
	table *table

	work  context.Context // of all goroutines
	stop  context.CancelFunc
	doors sync.WaitGroup
	flows sync.WaitGroup // goroutines of theirs
}

// New makes a server.
func New(s Settings) *Server {
	server := &Server{Settings: s, table: newTable(s.Max, s.MaxPerSource)}
	server.work, server.stop = context.WithCancel(context.Background())
	return server
}

// Run ends what is over, until ctx ends; then it ends all flows, closes all sockets, and returns
// when nothing is left.
func (s *Server) Run(ctx context.Context) {
	tick := time.NewTicker(max(min(s.Idle/4, lookEvery), time.Millisecond))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-tick.C:
			for _, f := range s.table.all() {
				f.look(now)
			}
		}
	}
	s.stop()
	s.doors.Wait()
	for _, f := range s.table.all() {
		f.end(errStopped)
	}
	s.flows.Wait()
}

// Serve takes datagrams from a socket, which is the server's from now on and is bound to one address:
// replies go back from there. It needs that Run runs. When stop returns, no more datagrams are
// taken; the socket is closed after the replies that may be on their way.
func (s *Server) Serve(conn *net.UDPConn) (stop func()) {
	d := &door{server: s, conn: conn, port: conn.LocalAddr().(*net.UDPAddr).Port}
	wake := func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // fails if it is closed already
	}
	ended := make(chan struct{})
	s.doors.Go(func() {
		defer close(ended)
		defer context.AfterFunc(s.work, wake)()
		d.read()
	})
	return func() {
		wake()
		<-ended
	}
}

// door is a socket that callers send to.
type door struct {
	server *Server
	conn   *net.UDPConn
	port   int
	flows  int  // that use it; of the table's lock
	closed bool // nothing is read any more; likewise
}

// read takes datagrams until the socket's deadline.
func (d *door) read() {
	defer func() {
		if d.server.table.shut(d) {
			d.close()
		}
	}()
	buffer := make([]byte, maxDatagram)
	for {
		n, source, err := d.conn.ReadFromUDPAddrPort(buffer)
		switch {
		case err == nil:
			d.take(netip.AddrPortFrom(source.Addr().Unmap(), source.Port()), buffer[:n])
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return
		default:
			d.server.Log.Warn("read datagrams", "port", d.port, "err", err)
			select {
			case <-d.server.work.Done():
				return
			case <-time.After(readPause):
			}
		}
	}
}

// take hands a datagram to its flow, which is new if there was none, or if the one that there was has
// ended with its caller.
func (d *door) take(source netip.AddrPort, b []byte) {
	for range 2 {
		f, evicted := d.server.table.get(d, source, time.Now())
		if evicted != nil {
			evicted.end(errCrowded)
		}
		if f.send(b) {
			return
		}
	}
}

func (d *door) close() {
	_ = d.conn.Close() // nothing is lost that could be kept
}
