package ambassador

import (
	"context"
	"slices"

	"github.com/dokkaa/dokkaa/internal/handover"
)

// The listeners are what an ambassador hands over to the next: a handover.Server.

func (l *listeners) isServing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serving
}

// Serve opens the doors, with the listeners given and those that were kept, if they are wanted.
func (l *listeners) Serve(ctx context.Context, given []handover.Socket) (taken []handover.Name) {
	l.work.Lock()
	defer l.work.Unlock()
	l.mu.Lock()
	for _, socket := range given {
		if _, have := l.inherited[socket.Name]; have || socket.Kind != handover.TCP && socket.Kind != handover.UDP {
			socket.Close() // a kind that a later version has
			continue
		}
		l.inherited[socket.Name] = socket
	}
	l.serving = true
	l.err = errNotServing
	l.mu.Unlock()
	l.align(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropInherited()
	for _, door := range l.open {
		if slices.ContainsFunc(given, func(s handover.Socket) bool { return s.Name == door.kept.Name }) {
			taken = append(taken, door.kept.Name)
		}
	}
	return taken
}

// dropInherited closes what no door was opened with. l.mu is held.
func (l *listeners) dropInherited() {
	for _, socket := range l.inherited {
		socket.Close()
	}
	clear(l.inherited)
}

// Offer returns copies of the doors' listeners.
func (l *listeners) Offer() (sockets []handover.Socket, release func()) {
	l.work.Lock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, door := range l.open {
		socket, err := door.kept.Copy()
		if err != nil {
			l.log.Warn("a listener is not handed over", "err", err)
			continue
		}
		sockets = append(sockets, socket)
	}
	return sockets, l.work.Unlock
}

// Rest closes the doors, but not the listeners that are named.
func (l *listeners) Rest(keep []handover.Name) {
	l.mu.Lock()
	for _, door := range l.open {
		if !slices.Contains(keep, door.kept.Name) {
			continue
		}
		kept, err := door.kept.Copy()
		if err != nil {
			l.log.Warn("a listener that was handed over is not kept", "err", err)
			continue
		}
		l.inherited[kept.Name] = kept
	}
	l.mu.Unlock()
	l.unbind()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving = false
	l.err = errNotServing
}

// close closes the doors, and gives back what was kept for later.
func (l *listeners) close() {
	l.work.Lock()
	defer l.work.Unlock()
	l.unbind()
	l.closing.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropInherited()
	l.serving = false
}
