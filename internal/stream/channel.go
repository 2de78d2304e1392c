package stream

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// errOverrun says that the other side does not keep to what there is room for.
var errOverrun = errors.New("more data came than there is room for")

// Channel carries data in both directions, each of which ends on its own. One goroutine may read
// while another writes.
type Channel struct {
	conn *Conn
	id   byte

	mu      sync.Mutex
	changed sync.Cond
	in      []byte // that arrived and nobody has read
	unsaid  int    // bytes that were read and the other side was not told of
	inErr   error  // after what is in: io.EOF for the end
	room    int    // how much may be sent
	outErr  error  // why nothing may be sent any more
	broken  bool   // it broke off, by whomever
}

func (c *Channel) init(conn *Conn, id byte) {
	c.conn, c.id, c.room = conn, id, window
	c.changed.L = &c.mu
}

// Read reads what arrives. It returns io.EOF at the end, and ErrReset where the channel broke off.
func (c *Channel) Read(p []byte) (n int, err error) {
	c.mu.Lock()
	for len(c.in) == 0 && c.inErr == nil {
		c.changed.Wait()
	}
	if len(c.in) == 0 || c.inErr != nil && !errors.Is(c.inErr, io.EOF) { // what broke off is worth nothing
		defer c.mu.Unlock()
		return 0, c.inErr
	}
	n = copy(p, c.in)
	c.in = c.in[n:]
	c.unsaid += n
	say := 0
	if c.unsaid >= window/4 {
		say, c.unsaid = c.unsaid, 0
	}
	c.mu.Unlock()
	if say > 0 {
		// If it fails the stream has ended, which the next one hears of.
		_ = c.conn.send(kindTaken, c.id, binary.BigEndian.AppendUint32(nil, uint32(say)))
	}
	return n, nil
}

// Write sends data as the other side has room for it.
func (c *Channel) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		n, err := c.reserve(min(len(p), maxFrame))
		if err != nil {
			return written, err
		}
		if err := c.conn.send(kindData, c.id, p[:n]); err != nil {
			return written, err
		}
		written, p = written+n, p[n:]
	}
	return written, nil
}

// reserve waits for room, and takes as much as there is of what is wanted.
func (c *Channel) reserve(wanted int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.room == 0 && c.outErr == nil {
		c.changed.Wait()
	}
	if c.outErr != nil {
		return 0, c.outErr
	}
	n := min(wanted, c.room)
	c.room -= n
	return n, nil
}

// CloseWrite says that nothing more comes. A second time it does nothing.
func (c *Channel) CloseWrite() error {
	c.mu.Lock()
	before := c.outErr
	if before == nil {
		c.outErr = errClosed
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	switch {
	case before == nil:
		return c.conn.send(kindEnd, c.id, nil)
	case errors.Is(before, errClosed):
		return nil
	}
	return before
}

// Reset breaks the channel off: reads and writes fail, on the other side too. Of one that is broken off
// it does nothing.
func (c *Channel) Reset() error {
	c.mu.Lock()
	before := c.broken
	c.broken, c.inErr, c.outErr = true, errBroken, errBroken
	c.changed.Broadcast()
	c.mu.Unlock()
	if before {
		return nil
	}
	return c.conn.send(kindReset, c.id, nil)
}

// arrived takes in data.
func (c *Channel) arrived(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.in)+c.unsaid+len(data) > window {
		return errOverrun
	}
	if c.inErr == nil {
		c.in = append(c.in, data...)
		c.changed.Broadcast()
	}
	return nil
}

// ended takes in that nothing more comes.
func (c *Channel) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inErr == nil {
		c.inErr = io.EOF
	}
	c.changed.Broadcast()
}

// brokeOff takes in that the other side broke off, to which there is nothing to say either.
func (c *Channel) brokeOff(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.broken {
		c.broken, c.inErr, c.outErr = true, err, err
	}
	c.changed.Broadcast()
}

// taken takes in that there is room again.
func (c *Channel) taken(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room = min(window, c.room+n)
	c.changed.Broadcast()
}

// over takes in that the stream has ended. What has ended before has ended well.
func (c *Channel) over(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inErr == nil {
		c.inErr = err
	}
	if c.outErr == nil {
		c.outErr = err
	}
	c.changed.Broadcast()
}
