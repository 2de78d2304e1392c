package stream

import (
	"io"
	"net"
	"sync"
	"time"
)

// partingPatience is for the other side to be done when this one is.
const partingPatience = 10 * time.Second

// Carry runs a stream whose channel 0 is a connection, in place of Run, until both directions have ended
// on both sides, or the stream has.
func Carry(c *Conn, conn *net.TCPConn) error {
	var parting *time.Timer
	var group sync.WaitGroup
	group.Go(func() {
		Splice(c.Channel(0), conn)
		c.Finish()
		parting = time.AfterFunc(partingPatience, c.Close)
	})
	err := c.Run(func([]byte) {})
	group.Wait()
	parting.Stop()
	return err
}

// Splice carries bytes between a channel and a connection until both directions have ended, and closes
// the connection. Each direction ends on its own. What breaks off on one side does so on the other: a
// reset stays one.
func Splice(c *Channel, conn *net.TCPConn) {
	var both sync.WaitGroup
	both.Go(func() { splice(c, conn, c, conn) })
	both.Go(func() { splice(conn, c, c, conn) })
	both.Wait()
	_ = conn.Close() // both directions have ended
}

type writer interface {
	io.Writer
	CloseWrite() error
}

// splice carries one direction.
func splice(to writer, from io.Reader, c *Channel, conn *net.TCPConn) {
	_, err := io.Copy(to, from)
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		// Whoever it was, neither side is to take it for an end.
		_ = c.Reset()
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}
