package dokkaacfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/dokkaa/dokkaa/internal/stream"
)

const (
	// tunnelLook is for how long what was read of the instances is good enough for a connection.
	tunnelLook = time.Second
	// maxTunnelled is how many connections are carried at a time.
	maxTunnelled = 200
	// tunnelTries is how many instances are tried for a connection.
	tunnelTries = 4
)

// tunnel carries connections of this machine to instances, each to another one in turn.
type tunnel struct {
	session  *session
	keys     clusterKeys
	target   tunnelTarget
	say      func(format string, args ...any)
	listener net.Listener

	mu    sync.Mutex
	found []reached
	read  time.Time // when
	next  int
	told  string // why the last connection failed
}

// openTunnel listens on loopback, so that nobody else on the network gets there: at the pair's port,
// or at any that is free.
func (s *session) openTunnel(ctx context.Context, keys clusterKeys, target tunnelTarget, local int, say func(string, ...any)) (*tunnel, error) {
	t := &tunnel{session: s, keys: keys, target: target, say: say}
	if _, err := t.candidates(ctx); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(local)))
	if err != nil {
		return nil, fmt.Errorf("listen for connections: %w\nAnother port here stands before that of the container: 8080:80", err)
	}
	t.listener = listener
	return t, nil
}

func (t *tunnel) addr() string { return t.listener.Addr().String() }

// run carries connections until ctx ends, and cuts them then.
func (t *tunnel) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { t.listener.Close() })()
	var group sync.WaitGroup
	defer group.Wait()
	free := make(chan struct{}, maxTunnelled)
	for {
		conn, err := t.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept connections: %w", err)
		}
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			t.carry(ctx, conn.(*net.TCPConn))
		})
	}
}

// carry carries a connection until it has ended. One that nobody takes is reset, which is told once.
func (t *tunnel) carry(ctx context.Context, conn *net.TCPConn) {
	far, err := t.reach(ctx)
	t.tell(ctx, err)
	if err != nil {
		_ = conn.SetLinger(0) // the end that it had is one that no server gives
		conn.Close()
		return
	}
	defer context.AfterFunc(ctx, far.Close)()
	if err := stream.Carry(far, conn); err != nil && ctx.Err() == nil {
		t.session.log.Debug("a connection broke off", "err", err)
	}
}

// reach opens a stream to the next instance that takes it.
func (t *tunnel) reach(ctx context.Context) (*stream.Conn, error) {
	found, err := t.candidates(ctx)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, to := range found[:min(len(found), tunnelTries)] {
		far, err := t.session.openStream(ctx, to.instanceReport, "forward", url.Values{"port": {strconv.Itoa(to.port)}}, nil)
		if err == nil {
			return far, nil
		}
		failed = append(failed, err)
		var refused *refusedStream
		if errors.As(err, &refused) && refused.status == http.StatusForbidden {
			break // others will not say anything else
		}
	}
	t.mu.Lock()
	t.read = time.Time{} // the instances are others by now, maybe
	t.mu.Unlock()
	return nil, errors.Join(failed...)
}

// candidates are the instances in the order in which to try them. While they cannot be read they are
// those of before.
func (t *tunnel) candidates(ctx context.Context) ([]reached, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.read) > tunnelLook {
		found, err := t.look(ctx)
		if err != nil && len(t.found) == 0 {
			return nil, err
		}
		if err == nil {
			t.found = found
		}
		t.read = time.Now()
	}
	t.next = (t.next + 1) % len(t.found)
	return append(append([]reached{}, t.found[t.next:]...), t.found[:t.next]...), nil
}

func (t *tunnel) look(ctx context.Context) ([]reached, error) {
	all, err := readInventory(ctx, t.keys)
	if err != nil {
		return nil, err
	}
	return t.target.resolve(all)
}

// tell says why a connection fails, once for a reason.
func (t *tunnel) tell(ctx context.Context, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	says := ""
	if err != nil && ctx.Err() == nil {
		says = err.Error()
	}
	if says != "" && says != t.told {
		t.say("a connection could not be carried: %s", says)
	}
	t.told = says
}
