package backend

import (
	"sync"
	"sync/atomic"
	"time"
)

// An endpoint that cannot be dialled is set aside for a time that doubles with each failure.
const (
	asideLeast = time.Second
	asideMost  = 30 * time.Second
)

// condition is how an endpoint fares. Times are durations since the epoch of its pools.
type condition struct {
	open  atomic.Int64 // connections, those being dialled included
	aside atomic.Int64 // until when it is set aside; 0: it is not
	trial atomic.Bool  // somebody tries it again
	tried atomic.Int64 // when it was dialled last, once it is set aside

	mu       sync.Mutex
	failures int // without a success between them
}

func (c *condition) isAside() bool { return c.aside.Load() != 0 }

// usable says whether a connection may go there now: not to one that is set aside, until its time
// is over, and then only one at a time.
func (c *condition) usable(at time.Duration) bool {
	aside := c.aside.Load()
	return aside == 0 || int64(at) >= aside && !c.trial.Load()
}

// claim is usable for a connection that will go there. trial says that it is the one that tries.
func (c *condition) claim(at time.Duration) (trial, ok bool) {
	aside := c.aside.Load()
	switch {
	case aside == 0:
		return false, true
	case int64(at) < aside || !c.trial.CompareAndSwap(false, true):
		return false, false
	}
	c.tried.Store(int64(at))
	return true, true
}

// failed sets the endpoint aside. Connections that were under way when it was make it no worse.
func (c *condition) failed(at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried.Store(int64(at))
	if int64(at) < c.aside.Load() {
		return
	}
	pause := asideMost
	if c.failures < 5 { // 1, 2, 4, 8, 16 s
		pause = asideLeast << c.failures
	}
	c.failures++
	c.aside.Store(int64(at + pause))
}

// accepted ends what failures have brought.
func (c *condition) accepted() {
	if !c.isAside() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = 0
	c.aside.Store(0)
}
