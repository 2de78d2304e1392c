package tcp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dokkaa/dokkaa/skydns/wire"
	"github.com/miekg/dns"
)

// maxQuery is the size of the largest query that is read; real ones are below 512 bytes.
const maxQuery = 4096

var errTooLarge = errors.New("query is too large")

// connection is one client's. One goroutine reads its queries, and each query is answered by
// another one, in the order in which the answers are found.
type connection struct {
	conn   net.Conn
	server *Server
	reader *bufio.Reader

	slots    chan struct{} // one for each query in hand
	inHand   atomic.Int32
	lastUsed atomic.Int64 // in nanoseconds since the server started

	mu     sync.Mutex // of the deadline for reading
	ending bool

	writing sync.Mutex
}

func newConnection(conn net.Conn, s *Server) *connection {
	c := &connection{conn: conn, server: s, reader: bufio.NewReaderSize(conn, 512), slots: make(chan struct{}, s.Limits.InFlight)}
	c.lastUsed.Store(int64(time.Since(s.started)))
	return c
}

// idleSince says whether no query is in hand, and since when.
func (c *connection) idleSince() (since int64, idle bool) {
	return c.lastUsed.Load(), c.inHand.Load() == 0
}

// serve reads queries until there are no more, or too many, and waits for those in hand.
func (c *connection) serve() {
	var queries sync.WaitGroup
	for range c.server.Limits.Queries {
		packet, err := c.read()
		if err != nil {
			break
		}
		query, refusal := wire.Query(packet)
		if query == nil && refusal == nil {
			break // whoever sends this is no client of ours
		}
		c.slots <- struct{}{}
		c.inHand.Add(1)
		queries.Go(func() {
			defer func() {
				c.lastUsed.Store(int64(time.Since(c.server.started)))
				c.inHand.Add(-1)
				<-c.slots
			}()
			w := writer{c}
			if query == nil {
				_ = w.WriteMsg(refusal) // if it cannot be written the next read fails
				return
			}
			c.server.Handler.ServeDNS(w, query)
		})
	}
	queries.Wait()
	_ = c.conn.Close() // all that was promised is written
}

// read reads one query: patiently until it begins, and then no longer than a client of good will
// needs to send it.
func (c *connection) read() ([]byte, error) {
	if err := c.allow(c.server.Limits.Idle); err != nil {
		return nil, err
	}
	if _, err := c.reader.Peek(1); err != nil {
		return nil, err
	}
	if err := c.allow(c.server.Limits.Patience); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(c.reader, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint16(length[:])
	if size > maxQuery {
		return nil, errTooLarge
	}
	packet := make([]byte, size)
	_, err := io.ReadFull(c.reader, packet)
	return packet, err
}

// allow lets reading take the given time from now, unless the connection is to end.
func (c *connection) allow(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return net.ErrClosed
	}
	return c.conn.SetReadDeadline(time.Now().Add(d))
}

// finish ends reading. What is in hand is still answered.
func (c *connection) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // a connection that fails has ended, too
}

// writer sends replies.
type writer struct{ *connection }

func (w writer) LocalAddr() net.Addr  { return w.conn.LocalAddr() }
func (w writer) RemoteAddr() net.Addr { return w.conn.RemoteAddr() }
func (w writer) Network() string      { return "tcp" }

func (w writer) WriteMsg(reply *dns.Msg) error {
	packet, err := reply.Pack()
	if err != nil {
		return err
	}
	_, err = w.Write(packet)
	return err
}

// Write sends a packed reply. A client that does not take it is cut off, lest it keep others'
// replies and our memory.
func (w writer) Write(reply []byte) (int, error) {
	if len(reply) > dns.MaxMsgSize {
		return 0, errTooLarge
	}
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reply)), uint16(len(reply)))
	framed = append(framed, reply...)
	w.writing.Lock()
	defer w.writing.Unlock()
	err := w.conn.SetWriteDeadline(time.Now().Add(w.server.Limits.Patience))
	if err == nil {
		_, err = w.conn.Write(framed)
	}
	if err != nil {
		return 0, errors.Join(err, w.conn.Close())
	}
	return len(reply), nil
}

// Close, TsigStatus, TsigTimersOnly and Hijack are what the library asks of a ResponseWriter: the
// connection is not one query's to close or to take over, and there is no TSIG.
func (w writer) Close() error        { return nil }
func (w writer) TsigStatus() error   { return nil }
func (w writer) TsigTimersOnly(bool) {}
func (w writer) Hijack()             {}
