package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// splice carries bytes both ways until both directions ended, and closes the two connections.
// It returns what ended them, nil for an orderly end.
func splice(client, backend *net.TCPConn, idle time.Duration, carried func(up, down int64)) error {
	s := &splicing{idle: idle, began: time.Now()}
	// Whatever goes wrong on one side must wake both directions.
	var once sync.Once
	var failure error
	fail := func(err error) {
		once.Do(func() {
			failure = err
			reset(client)
			reset(backend)
		})
	}
	oneWay := func(to, from *net.TCPConn, ends, otherEnds *atomic.Bool, carried func(int64)) {
		err := s.copy(to, from, carried)
		if err == nil && !isWritable(from) && !otherEnds.Load() {
			err = errReset
		}
		if err != nil {
			fail(err)
			return
		}
		ends.Store(true)
		if err := to.CloseWrite(); err != nil {
			fail(err)
		}
	}
	var counting sync.Mutex
	count := func(up, down int64) {
		counting.Lock()
		defer counting.Unlock()
		carried(up, down)
	}
	var upEnds, downEnds atomic.Bool
	var group sync.WaitGroup
	group.Go(func() { oneWay(backend, client, &upEnds, &downEnds, func(n int64) { count(n, 0) }) })
	oneWay(client, backend, &downEnds, &upEnds, func(n int64) { count(0, n) })
	group.Wait()
	if failure == nil {
		_ = client.Close() // both directions ended, nothing can be lost
		_ = backend.Close()
	}
	return failure
}

// splicing is what the two directions of a connection share.
type splicing struct {
	idle  time.Duration // 0: for ever
	began time.Time
	last  atomic.Int64 // when bytes were carried, a time.Duration since began: a clock that nobody sets
}

// copy carries bytes one way until the end of from. The kernel moves them (see splice(2)), so
// the read deadline is what gives us a look at the connection now and then.
func (s *splicing) copy(to, from *net.TCPConn, carried func(int64)) error {
	look := accountEvery
	if s.idle > 0 {
		look = min(look, s.idle/4) // the other direction has to tell in time that it carries
	}
	for {
		if err := from.SetReadDeadline(time.Now().Add(look)); err != nil {
			return err
		}
		n, err := io.Copy(to, from)
		if n > 0 {
			carried(n)
			s.last.Store(int64(time.Since(s.began)))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if s.idle > 0 && time.Since(s.began)-time.Duration(s.last.Load()) >= s.idle {
			return errIdle
		}
	}
}

// errReset is a reset of which only whoever writes to the connection was told: the kernel tells one. Who
// reads from it sees an end.
var errReset = os.NewSyscallError("read", unix.ECONNRESET)

// isWritable says whether the connection would take bytes, now or later: neither end has reset it, nor
// have we said that there are no more.
func isWritable(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var failure error
	err = raw.Control(func(fd uintptr) {
		_, failure = unix.Write(int(fd), nil)
	})
	return err == nil && !errors.Is(failure, unix.EPIPE)
}

// reset closes the connection so that the other side sees a reset, not an orderly end.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // fails only on a connection that is gone anyway
	_ = conn.Close()      // of which nothing is expected any more
}
