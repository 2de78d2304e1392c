package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// holding is the time in which a process holds the post.
type holding struct {
	post  *Post
	place *net.UnixListener

	exchange sync.Mutex // held while an heir takes over

	mu     sync.Mutex
	heirs  map[*line]struct{} // that are there
	ending bool               // ctx has ended
	winner *line              // the heir that serves now
}

// hold passes the post on to the first heir that serves, and returns the line to it; or nil when
// ctx has ended.
func (p *Post) hold(ctx context.Context, place *net.UnixListener) *line {
	h := &holding{post: p, place: place, heirs: make(map[*line]struct{})}
	stop := context.AfterFunc(ctx, h.end)
	defer stop()
	var group sync.WaitGroup
	for {
		conn, err := place.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			p.Log.Warn("an heir could not be heard", "err", err)
			pause(ctx, look)
			continue
		}
		l := &line{conn}
		if err := h.admit(l); err != nil {
			p.Log.Warn("an heir was turned away", "err", err)
			_ = conn.Close() // nothing was said
			continue
		}
		group.Go(func() { h.listen(l) })
	}
	group.Wait()
	return h.winner
}

func (h *holding) admit(l *line) error {
	if err := checkPeer(l.UnixConn); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.heirs) == maxHeirs {
		return fmt.Errorf("%d others are there", maxHeirs)
	}
	h.heirs[l] = struct{}{}
	return h.hurry(l)
}

// end is what happens when ctx has ended. Heirs that are there have a moment: it would not be
// theirs to have come too late.
func (h *holding) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ending = true
	_ = h.place.Close() // it may be closed already
	for l := range h.heirs {
		_ = h.hurry(l) // who is gone is gone
	}
}

// hurry bounds how long the heir may be silent, if we are to end. h.mu is held.
func (h *holding) hurry(l *line) error {
	if !h.ending {
		return nil
	}
	return l.limit(heirPatience)
}

// listen hears an heir to its end, or to ours.
func (h *holding) listen(l *line) {
	err := h.bequeath(l)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.heirs, l)
	switch {
	case err == nil:
		for other := range h.heirs {
			_ = other.Close() // it will find the new holder
		}
		return
	case !errors.Is(err, io.EOF) && h.winner == nil && !h.ending:
		h.post.Log.Warn("an heir has not taken over", "err", err)
	}
	_ = l.Close() // nothing more is said
}

func (h *holding) won(l *line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.winner = l
}

// bequeath hands the sockets over. Unless it errs, the heir accepts with them and has the post, and
// we do not any more.
func (h *holding) bequeath(l *line) error {
	if _, _, err := l.hear(sayAsk); err != nil {
		return err
	}
	h.exchange.Lock()
	defer h.exchange.Unlock()
	if h.winner != nil { // which is set below only
		return errOther
	}
	if err := l.limit(exchangeTimeout); err != nil {
		return err
	}
	sockets, release := h.post.Server.Offer()
	defer release()
	err := l.sayAll(sockets)
	closeAll(sockets)
	if err != nil {
		return err
	}
	serving, _, err := l.hear(sayServing)
	if err != nil {
		return err
	}
	h.post.Server.Rest(serving.Sockets)
	h.won(l)
	h.post.endTurn()
	if err := h.retire(l); err != nil {
		h.post.Log.Warn("the process that had taken over is gone", "err", err) // which wait sees, too
	}
	return l.SetDeadline(time.Time{})
}

// retire leaves the post to the heir. It is never free meanwhile: who stands by would take it.
func (h *holding) retire(l *line) error {
	defer h.place.Close() // it may be closed already
	post, err := Of(Name{Kind: postKind}, h.place)
	if err != nil {
		return l.say(message{Say: sayRetired}) // we are to end
	}
	defer post.Close()
	return l.say(message{Say: sayRetired, Sockets: []Name{post.Name}}, post)
}

var errOther = errors.New("another one has taken over")
