// Package stream carries the input and output of a command, or the two directions of a connection,
// over one connection between the command line and a host, and messages beside them.
//
// What one channel carries holds up neither the others nor the messages: a sender has so much of it
// under way as the other side has room for. So each side hears of the other at any time, and one that
// it hears nothing of is gone.
package stream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Protocol is what an HTTP request asks to upgrade its connection to.
const Protocol = "dokkaa-stream"

const (
	aliveInterval = 4 * time.Second
	// aliveTimeout is how long the other side may say nothing, not even that it is there.
	aliveTimeout = 13 * time.Second
	// window is how much of a channel's data may be under way, or lie about here.
	window   = 256 << 10
	maxFrame = 32 << 10
	// channels is how many there are.
	channels = 3
)

// kind is what a frame is: it has a byte for its kind, one for its channel, and two for the length
// of what follows.
type kind byte

const (
	kindData    kind = iota + 1
	kindEnd          // nothing more comes on the channel
	kindReset        // the channel broke off
	kindTaken        // so many bytes of the channel were taken, in four bytes
	kindMessage      // what the two sides have to say to each other
	kindAlive        // nothing
	kindBye          // nothing more comes at all
)

const headerSize = 4

// Why a stream, or a channel, ended.
var (
	ErrSilent = errors.New("nothing was heard of the other side")
	ErrReset  = errors.New("the other side broke off")
	errClosed = errors.New("the stream is closed")
	errBroken = errors.New("it was broken off here")
	errDone   = errors.New("both sides are done")
)

// Conn is one end of a stream. All but Run are safe for concurrent use.
type Conn struct {
	raw      io.ReadWriteCloser
	channels [channels]Channel

	writing chan struct{} // held by who writes a frame

	mu    sync.Mutex
	heard time.Time
	said  bool  // that nothing more comes
	told  bool  // the same, by the other side
	err   error // why it ended, nil while it has not
}

// New makes an end of a stream. It does no I/O; Run has to be called for anything to arrive.
func New(raw io.ReadWriteCloser) *Conn {
	c := &Conn{raw: raw, writing: make(chan struct{}, 1), heard: time.Now()}
	for n := range c.channels {
		c.channels[n].init(c, byte(n))
	}
	return c
}

// Channel is one of the stream's channels, 0 to 2.
func (c *Conn) Channel(n int) *Channel { return &c.channels[n] }

// Run takes in what the other side sends, and lets it know that this one is there. It blocks until
// the stream ends, and returns why: nil if both sides were done. Messages are handed to on, in their
// order among the data; on must not block.
func (c *Conn) Run(on func(message []byte)) error {
	over := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { c.beHeard(over) })
	group.Go(func() { c.listen(over) })
	c.end(c.receive(on))
	close(over)
	group.Wait()
	if errors.Is(c.err, errDone) {
		return nil
	}
	return c.err
}

// Close ends the stream: Run returns, and so does who reads or writes.
func (c *Conn) Close() { c.end(errClosed) }

// Finish says that nothing more comes, and that the stream may end when the other side says so, too.
// Until then it goes on to take in what comes. The one that simply closed a connection would lose
// what the other side has not read yet.
func (c *Conn) Finish() {
	if c.send(kindBye, 0, nil) == nil {
		c.mu.Lock()
		done := c.told
		c.mu.Unlock()
		if done {
			c.end(errDone)
		}
	}
}

// Tell sends a message.
func (c *Conn) Tell(message []byte) error { return c.send(kindMessage, 0, message) }

// end closes the connection. Only the first reason counts.
func (c *Conn) end(err error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
	}
	if first && c.said && c.told { // whoever closes first
		c.err = errDone
	}
	err = c.err
	c.mu.Unlock()
	if first {
		_ = c.raw.Close() // it is over, whatever this says
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the end of a channel is something else
	}
	for n := range c.channels {
		c.channels[n].over(err)
	}
}

func (c *Conn) send(k kind, channel byte, data []byte) error {
	frame := make([]byte, headerSize, headerSize+len(data))
	frame[0], frame[1] = byte(k), channel
	binary.BigEndian.PutUint16(frame[2:], uint16(len(data)))
	frame = append(frame, data...)
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	c.mu.Lock()
	over := c.said || c.err != nil
	c.said = c.said || k == kindBye
	c.mu.Unlock()
	if over {
		return errClosed
	}
	if _, err := c.raw.Write(frame); err != nil {
		c.end(err)
		return err
	}
	return nil
}

// beHeard sends something now and then.
func (c *Conn) beHeard(over <-chan struct{}) {
	tick := time.NewTicker(aliveInterval)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
			if c.send(kindAlive, 0, nil) != nil {
				return
			}
		}
	}
}

// listen ends the stream when nothing is heard.
func (c *Conn) listen(over <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		c.mu.Lock()
		silent := !c.told && time.Since(c.heard) > aliveTimeout
		c.mu.Unlock()
		if silent {
			c.end(ErrSilent)
			return
		}
	}
}

// Read notes that something was heard.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.raw.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.heard = time.Now()
		c.mu.Unlock()
	}
	return n, err
}

// receive takes in frames until it fails.
func (c *Conn) receive(on func([]byte)) error {
	in := bufio.NewReaderSize(c, maxFrame)
	var header [headerSize]byte
	for {
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return fmt.Errorf("the other side is gone: %w", err)
		}
		data := make([]byte, binary.BigEndian.Uint16(header[2:]))
		if _, err := io.ReadFull(in, data); err != nil {
			return fmt.Errorf("a frame breaks off: %w", err)
		}
		if int(header[1]) >= channels {
			return fmt.Errorf("there is no channel %d", header[1])
		}
		if err := c.take(kind(header[0]), &c.channels[header[1]], data, on); err != nil {
			return err
		}
	}
}

// take takes in a frame. A kind that it does not know is for a newer version.
func (c *Conn) take(k kind, channel *Channel, data []byte, on func([]byte)) error {
	switch k {
	case kindData:
		return channel.arrived(data)
	case kindEnd:
		channel.ended()
	case kindReset:
		channel.brokeOff(ErrReset)
	case kindTaken:
		if len(data) != 4 {
			return errors.New("a frame has the wrong length")
		}
		channel.taken(int(binary.BigEndian.Uint32(data)))
	case kindMessage:
		on(data)
	case kindBye:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told = true
		if c.said {
			return errDone
		}
	}
	return nil
}
