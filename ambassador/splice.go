package ambassador

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// accountEvery is how often a connection that goes on tells how much it carried.
const accountEvery = 15 * time.Second

var errIdle = errors.New("idle")

// splicer carries bytes between two connections.
type splicer struct {
	idle time.Duration // 0: for ever
	up   prometheus.Counter
	down prometheus.Counter
}

// splice carries bytes both ways until both directions ended, and closes the two connections.
// The end of one direction is passed on alone; a reset on either side resets the other.
// It returns what ended it, nil for an orderly end.
func (s *splicer) splice(client, backend *net.TCPConn) error {
	activity := activity{began: time.Now()}
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
	var group sync.WaitGroup
	oneWay := func(to, from *net.TCPConn, bytes prometheus.Counter) {
		if err := s.copy(to, from, bytes, &activity); err != nil {
			fail(err)
			return
		}
		if err := to.CloseWrite(); err != nil {
			fail(err)
		}
	}
	group.Go(func() { oneWay(backend, client, s.up) })
	oneWay(client, backend, s.down)
	group.Wait()
	if failure == nil {
		closeBoth(client, backend)
	}
	return failure
}

// copy carries bytes one way until the end of from. The kernel moves them (see splice(2)), so
// the read deadline is what gives us a look at the connection now and then.
func (s *splicer) copy(to, from *net.TCPConn, bytes prometheus.Counter, activity *activity) error {
	look := accountEvery
	if s.idle > 0 {
		look = min(look, s.idle)
	}
	for {
		if err := from.SetReadDeadline(time.Now().Add(look)); err != nil {
			return err
		}
		n, err := io.Copy(to, from)
		bytes.Add(float64(n))
		if n > 0 {
			activity.note()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if s.idle > 0 && activity.idle() >= s.idle {
			return errIdle
		}
	}
}

// activity is when bytes were carried last, by a clock that nobody sets.
type activity struct {
	began time.Time
	last  atomic.Int64 // time.Duration since then
}

func (a *activity) note()               { a.last.Store(int64(time.Since(a.began))) }
func (a *activity) idle() time.Duration { return time.Since(a.began) - time.Duration(a.last.Load()) }

// reset closes the connection so that the other side sees a reset, not an orderly end.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // fails only on a connection that is gone anyway
	_ = conn.Close()      // of which nothing is expected any more
}

func closeBoth(client, backend *net.TCPConn) {
	_ = client.Close() // both directions ended, nothing can be lost
	_ = backend.Close()
}
