// Package remote reaches a host over SSH: it runs commands there as root, and connects from there
// to where only the host itself gets.
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

const (
	connectTimeout = 10 * time.Second
	// A connection that was not heard of for so long is given up.
	aliveInterval = 5 * time.Second
	aliveTimeout  = 15 * time.Second
)

// Host is a host that is reached over one SSH connection, which is made when it is first needed and
// anew when it broke. It is safe for concurrent use.
type Host struct {
	host hosting.Host
	keys *HostKeys

	ctx   context.Context // ends with Close
	end   context.CancelFunc
	alive sync.WaitGroup

	mu     sync.Mutex
	client *ssh.Client
	trying *attempt // to connect; nil for none
}

// attempt is one to connect. It outlives those who wait for it: they may have less patience than a
// far host needs, and come again.
type attempt struct {
	done   chan struct{}
	client *ssh.Client
	err    error
}

// New returns the host without connecting. Its host key is kept among keys. The caller closes it.
func New(host hosting.Host, keys *HostKeys) *Host {
	ctx, end := context.WithCancel(context.Background())
	return &Host{host: host, keys: keys, ctx: ctx, end: end}
}

// Name is what the operator knows the host by.
func (h *Host) Name() string { return h.host.Name }

// Is tells whether it is this host that is reached, with these addresses.
func (h *Host) Is(host hosting.Host) bool { return h.host == host }

// knownAs is what the host's key is kept under. By its address another machine, which gets it when
// this one is gone, would seem to be this one with another key.
func (h *Host) knownAs() string { return cmp.Or(h.host.ID, h.Address()) }

// Address is that of the host's SSH server.
func (h *Host) Address() string { return h.host.SSH.String() }

// HostKeysFile is where the host's key is kept.
func (h *Host) HostKeysFile() string { return h.keys.File() }

// Connect makes the connection unless there is one.
func (h *Host) Connect(ctx context.Context) error {
	_, err := h.connected(ctx)
	return err
}

// Close ends the connection, and with it all that goes over it.
func (h *Host) Close() {
	h.end()
	h.mu.Lock()
	if h.client != nil {
		h.client.Close() // one that is broken is as good as closed
		h.client = nil
	}
	h.mu.Unlock()
	h.alive.Wait()
}

// connected returns the connection.
func (h *Host) connected(ctx context.Context) (*ssh.Client, error) {
	client, try := h.tryToConnect()
	if client != nil {
		return client, nil
	}
	select {
	case <-try.done:
		if try.err != nil {
			return nil, fmt.Errorf("connect to host %s over SSH: %w", h.Name(), try.err)
		}
		return try.client, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to host %s over SSH: %w", h.Name(), ctx.Err())
	}
}

// tryToConnect returns the connection, or else the attempt to make it.
func (h *Host) tryToConnect() (*ssh.Client, *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil || h.trying != nil {
		return h.client, h.trying
	}
	try := &attempt{done: make(chan struct{})}
	if h.ctx.Err() != nil {
		try.err = net.ErrClosed
		close(try.done)
		return nil, try
	}
	h.trying = try
	h.alive.Go(func() {
		defer close(try.done)
		try.client, try.err = h.connect(h.ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.trying = nil
		switch {
		case try.err != nil:
		case h.ctx.Err() != nil: // Close was faster
			try.client.Close()
			try.err = net.ErrClosed
		default:
			h.client = try.client
			h.alive.Go(func() { h.watch(try.client) })
		}
	})
	return nil, try
}

func (h *Host) connect(ctx context.Context) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	login, err := newLogin(h.host)
	defer login.close()
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", h.Address())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	transport, channels, requests, err := ssh.NewClientConn(conn, h.knownAs(), &ssh.ClientConfig{
		User: h.host.User, Auth: login.methods(),
		HostKeyCallback: h.keys.check, HostKeyAlgorithms: h.keys.algorithms(h.knownAs()),
	})
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, login.explain(errors.Join(ctx.Err(), err))
	}
	return ssh.NewClient(transport, channels, requests), nil
}

// watch gives up the connection when it breaks, or when nothing is heard of the host any more.
func (h *Host) watch(client *ssh.Client) {
	ended := make(chan struct{})
	h.alive.Go(func() {
		defer close(ended)
		_ = client.Wait() // it says no more than that the connection ended
	})
	ticker := time.NewTicker(aliveInterval)
	defer ticker.Stop()
	heard := make(chan struct{}, 1)
	asked, last := false, time.Now()
	for {
		select {
		case <-ended:
			h.drop(client)
			return
		case <-heard:
			asked, last = false, time.Now()
		case <-ticker.C:
			if time.Since(last) > aliveTimeout {
				client.Close()
				continue // to the end of it
			}
			if !asked {
				asked = true
				h.alive.Go(func() {
					// A refusal is an answer too.
					if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
						heard <- struct{}{}
					}
				})
			}
		}
	}
}

func (h *Host) drop(client *ssh.Client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client == client {
		h.client = nil
	}
}
