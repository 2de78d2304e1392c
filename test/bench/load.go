//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	dokkaa "github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/manifest"
)

const (
	callerName = "caller"
	// requestEvery is a steady load, far below what anything here can bear.
	requestEvery = 20 * time.Millisecond
)

// load asks the web server for its page again and again, from the network of a container that has
// a link to it, so through that host's ambassador, each time by a new connection.
type load struct {
	http *http.Client

	mu               sync.Mutex
	requests, failed int
	last             error // of those that failed
}

// newLoad makes the container that asks.
func (c *cluster) newLoad(ctx context.Context) (*load, error) {
	if err := c.put(ctx, callerName, `{"image": "`+shellImage+`", "links": ["`+webName+`"], "command": ["sleep", "100000"]}`); err != nil {
		return nil, err
	}
	host, err := c.healthy(ctx, callerName, 1)
	if err != nil {
		return nil, err
	}
	caller, err := c.engine(host).newest(ctx, callerName)
	if err != nil {
		return nil, err
	}
	l := &load{http: newHTTP(time.Second)}
	l.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialFrom(ctx, caller.State.Pid, network, addr)
	}
	return l, nil
}

// begin has requests made until stop is called, which waits for the last. No load is none.
func (l *load) begin(ctx context.Context) (stop func()) {
	if l == nil {
		return func() {}
	}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	addr := net.JoinHostPort(dokkaa.NetworkGateway, strconv.Itoa(manifest.FirstLinkPort))
	wg.Go(func() {
		ticker := time.NewTicker(requestEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ended:
				return
			case <-ticker.C:
			}
			wg.Go(func() { l.count(get(ctx, l.http, addr)) })
		}
	})
	return func() { close(ended); wg.Wait() }
}

func (l *load) count(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if err != nil {
		l.failed, l.last = l.failed+1, err
	}
}

// dialFrom connects from the network of a process.
func dialFrom(ctx context.Context, pid int, network, addr string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread ends with the goroutine, nobody else gets it.
		runtime.LockOSThread()
		namespace, failed := os.Open(procFile(pid, "ns/net"))
		if failed != nil {
			err = fmt.Errorf("enter network of process %d: %w", pid, failed)
			return
		}
		defer namespace.Close()
		if err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network of process %d: %w", pid, err)
			return
		}
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
	}()
	<-done
	return conn, err
}
