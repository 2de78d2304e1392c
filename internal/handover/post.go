// Package handover passes the open sockets of a process on to the one that takes its place, so
// that no connection is refused meanwhile. See docs/adr/0021-sockets-are-handed-over.md.
//
// Who serves holds a post, which is the name of a unix socket. Who comes later is its heir: it asks
// for the sockets, accepts with them, and says so; only then the holder stops to accept. It keeps
// the sockets, and goes on with them should the heir end.
package handover

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// network keeps messages apart, with what goes with each.
const network = "unixpacket"

const (
	exchangeTimeout = 2 * time.Second       // for an heir to take over once its question was heard
	askTimeout      = 5 * time.Second       // for all of it: others may ask, too
	look            = 50 * time.Millisecond // how often an heir looks whether it is ready to ask
	claimAgain      = time.Second           // for a post that somebody else holds
	heirPatience    = 2 * time.Second       // for an heir that was there before we were to end
	maxHeirs        = 8                     // at a time
	maxAttempts     = 100                   // to reach who holds the post
)

// Server is what accepts connections. Its methods are called one at a time.
type Server interface {
	// Serve begins to accept, or goes on after a Rest. It takes the sockets given, which it owns from
	// now on, in place of new ones where it can, and returns which it did take.
	Serve(ctx context.Context, given []Socket) (taken []Name)
	// Offer returns copies of the sockets that are accepted with. These stay as they are until
	// release is called.
	Offer() (sockets []Socket, release func())
	// Rest stops to accept, without a loss. Of its sockets it keeps those open that are named, for
	// Serve to go on with. It is called before the release of an Offer.
	Rest(keep []Name)
}

// Settings are what a Post wants to know.
type Settings struct {
	// Name of the post in the network namespace. All that pass their sockets on to each other
	// have the same. If it is empty, there is nobody else.
	Name   string
	Server Server
	// Ready says why the server could not serve as well as the one that does now, nil if it could.
	Ready func() error
	Log   *slog.Logger
}

// Post is the process's part in it.
type Post struct {
	Settings
	turns   chan context.Context
	endTurn context.CancelFunc // of the present one
}

// New makes the process's part. It does no I/O.
func New(s Settings) *Post {
	return &Post{Settings: s, turns: make(chan context.Context), endTurn: func() {}}
}

// Run has the server serve whenever it is this process's turn, until ctx ends. The server is
// left as it is then.
func (p *Post) Run(ctx context.Context) {
	var turns sync.WaitGroup
	defer turns.Wait()
	serve := func(given []Socket) []Name {
		taken := p.Server.Serve(ctx, given)
		// A turn does not end with ctx: nobody else's has begun.
		var turn context.Context
		turn, p.endTurn = context.WithCancel(context.WithoutCancel(ctx))
		turns.Go(func() {
			select {
			case p.turns <- turn:
			case <-turn.Done():
			case <-ctx.Done():
			}
		})
		return taken
	}
	if p.Name == "" {
		serve(nil)
		<-ctx.Done()
		return
	}
	place, before := p.begin(ctx, serve)
	if before != nil {
		// It goes on once this is closed, as it does if we break down.
		defer before.Close()
	}
	if place == nil {
		place = p.claim(ctx)
	}
	for place != nil {
		heir := p.hold(ctx, place)
		if heir == nil {
			return
		}
		p.Log.Info("another process has taken over; open connections go on until this one is stopped")
		heir.wait(ctx)
		if place = p.claim(ctx); place != nil {
			p.Log.Warn("the process that had taken over is gone; this one goes on")
			serve(nil)
		}
	}
}

// Turn waits until the server serves, and returns a context that ends when another process does. It
// errs when ctx ends.
func (p *Post) Turn(ctx context.Context) (context.Context, error) {
	select {
	case turn := <-p.turns:
		return turn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// begin serves: with the sockets of whoever does now, to whom the line is then, or with its own.
// It returns the post if it has it.
func (p *Post) begin(ctx context.Context, serve func([]Socket) []Name) (place *net.UnixListener, before *line) {
	var err error
	for range maxAttempts {
		if place, err = p.bind(); err == nil {
			serve(nil)
			return place, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		if before, err = p.succeed(ctx, serve); err == nil {
			return p.takePost(before), before
		}
		if !errors.Is(err, errVacant) {
			break
		}
		pause(ctx, look)
	}
	if ctx.Err() == nil {
		p.Log.Warn("listeners are not taken over; this process serves beside whoever does now", "err", err)
		serve(nil)
	}
	return nil, nil
}

// errVacant tells that the post is free, or another's, or will be in a moment.
var errVacant = errors.New("who serves now has gone")

// succeed takes over from the post's holder. When it errs, nothing was taken.
func (p *Post) succeed(ctx context.Context, serve func([]Socket) []Name) (*line, error) {
	conn, err := net.DialUnix(network, nil, p.addr())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, errVacant
	}
	if err != nil {
		return nil, err
	}
	l := &line{conn}
	err = checkPeer(conn)
	if err == nil {
		err = p.await(ctx, l)
	}
	var sockets []Socket
	if err == nil {
		sockets, err = l.ask()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		err = errVacant
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	taken := serve(sockets)
	p.Log.Info("accepting with the listeners of another process", "given", len(sockets), "taken", len(taken))
	if err := l.say(message{Say: sayServing, Sockets: taken}); err != nil {
		p.Log.Warn("the process before cannot be told", "err", err) // which hears no more, either
	}
	return l, nil
}

// takePost waits until the holder leaves its post, nil if it does not say so. Whatever became of it,
// we serve; and it does so as well, at worst.
func (p *Post) takePost(before *line) *net.UnixListener {
	_, sockets, err := before.hear(sayRetired)
	defer closeAll(sockets)
	if err == nil {
		err = before.SetDeadline(time.Time{})
	}
	var place *net.UnixListener
	if err == nil && len(sockets) > 0 {
		place, err = sockets[0].post()
	}
	if err != nil {
		p.Log.Warn("the process before does not say that it has stopped accepting", "err", err)
	}
	return place
}

// await waits until the server is ready, for as long as the holder is there.
func (p *Post) await(ctx context.Context, l *line) error {
	for told := false; ctx.Err() == nil; told = true {
		why := p.Ready()
		if why == nil {
			return nil
		}
		if !told {
			p.Log.Info("another process serves until this one could", "err", why)
		}
		if err := l.SetReadDeadline(time.Now().Add(look)); err != nil {
			return err
		}
		_, err := l.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			return errVacant // or it says what nobody asked for
		}
	}
	return ctx.Err()
}

// ask returns the holder's sockets. What follows on the line is bounded.
func (l line) ask() ([]Socket, error) {
	err := l.limit(askTimeout)
	if err == nil {
		err = l.say(message{Say: sayAsk})
	}
	if err != nil {
		return nil, err
	}
	return l.hearAll()
}

// bind takes the post if it is free.
func (p *Post) bind() (*net.UnixListener, error) { return net.ListenUnix(network, p.addr()) }

func (p *Post) addr() *net.UnixAddr { return &net.UnixAddr{Name: "@" + p.Name, Net: network} }

// claim waits for the post. It returns nil when ctx ends.
func (p *Post) claim(ctx context.Context) *net.UnixListener {
	told := false
	for ctx.Err() == nil {
		place, err := p.bind()
		if err == nil {
			return place
		}
		if !told {
			p.Log.Info("waiting for the post", "err", err)
			told = true
		}
		pause(ctx, claimAgain)
	}
	return nil
}

// wait returns when the other process has ended, or ctx has.
func (l line) wait(ctx context.Context) {
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	_, _ = l.Read(make([]byte, 1)) // whatever it says: nothing was asked
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
