package handover

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// Sockets is the Server of a process whose parts each listen at an address of their own, when and for
// as long as they can. A part waits for the process's turn, takes its socket from here, and stops to
// accept when the turn ends; what it has accepted it serves to its end. Safe for concurrent use.
type Sockets struct {
	wants func(Name) bool // of a socket that was handed over: would a part listen there now?

	opening sync.Mutex // held while a socket is opened, and while they are handed over

	mu        sync.Mutex
	turn      context.Context // nil, or ended, while another process serves
	endTurn   context.CancelFunc
	began     chan struct{} // closed when a turn begins
	open      map[Name]Socket
	inherited map[Name]Socket // for parts to take
}

// NewSockets returns the sockets of a process that does not serve yet.
func NewSockets(wants func(Name) bool) *Sockets {
	return &Sockets{wants: wants, began: make(chan struct{}), open: map[Name]Socket{}, inherited: map[Name]Socket{}}
}

// Alone returns the sockets of a process that serves, with nobody to take over from or to hand over to.
func Alone() *Sockets {
	s := NewSockets(func(Name) bool { return false })
	s.Serve(context.Background(), nil)
	return s
}

// Turn waits until the process serves, and returns a context that ends when it does not any more, or
// with ctx. It errs when ctx ends.
func (s *Sockets) Turn(ctx context.Context) (context.Context, context.CancelFunc, error) {
	for {
		s.mu.Lock()
		turn, began := s.turn, s.began
		s.mu.Unlock()
		if turn != nil && turn.Err() == nil {
			joined, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(turn, cancel)
			return joined, func() { stop(); cancel() }, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-began:
		}
	}
}

// Resting tells whether another process serves that took over from this one.
func (s *Sockets) Resting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn != nil && s.turn.Err() != nil
}

// ListenTCP returns the listener at an address: the one that was handed over, or a new one.
func (s *Sockets) ListenTCP(turn context.Context, addr netip.AddrPort) (*net.TCPListener, error) {
	kept, err := s.take(turn, Name{Kind: TCP, Addr: addr})
	if err != nil {
		return nil, err
	}
	return kept.Listener()
}

// ListenUDP returns the socket for datagrams at an address, likewise.
func (s *Sockets) ListenUDP(turn context.Context, addr netip.AddrPort) (*net.UDPConn, error) {
	kept, err := s.take(turn, Name{Kind: UDP, Addr: addr})
	if err != nil {
		return nil, err
	}
	return kept.PacketConn()
}

// take returns the socket of the name, which stays ours, to hand over.
func (s *Sockets) take(turn context.Context, name Name) (Socket, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if turn.Err() != nil {
		return Socket{}, turn.Err() // another process has them now
	}
	kept, ok := s.inherit(name)
	if !ok {
		var err error
		if kept, err = openSocket(turn, name); err != nil {
			return Socket{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[kept.Name] = kept
	return kept, nil
}

// inherit returns the socket that was handed over to listen at the address.
func (s *Sockets) inherit(name Name) (Socket, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for given, kept := range s.inherited {
		if given.Kind == name.Kind && SamePlace(given.Addr, name.Addr) {
			delete(s.inherited, given)
			return kept, true
		}
	}
	return Socket{}, false
}

// SamePlace tells whether who listens at one of the addresses listens at the other. Of those that mean
// every address, the system may show another than was asked for.
func SamePlace(a, b netip.AddrPort) bool {
	return a == b || a.Port() == b.Port() && a.Addr().IsUnspecified() && b.Addr().IsUnspecified()
}

// openSocket opens a socket that nobody has handed over.
func openSocket(ctx context.Context, name Name) (Socket, error) {
	var config net.ListenConfig
	if name.Kind == UDP {
		conn, err := config.ListenPacket(ctx, "udp", name.Addr.String())
		if err != nil {
			return Socket{}, err // names the address itself
		}
		defer conn.Close() // the socket has another descriptor
		name.Addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
		return Of(name, conn.(*net.UDPConn))
	}
	listener, err := config.Listen(ctx, "tcp", name.Addr.String())
	if err != nil {
		return Socket{}, err // likewise
	}
	defer listener.Close()
	name.Addr = listener.Addr().(*net.TCPAddr).AddrPort()
	return Of(name, listener.(*net.TCPListener))
}

// Leave tells that nobody of this process listens at an address any more. Where that is because
// another process serves, it does nothing.
func (s *Sockets) Leave(addr netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kind := range []string{TCP, UDP} {
		name := Name{Kind: kind, Addr: addr}
		if kept, ok := s.open[name]; ok {
			kept.Close()
			delete(s.open, name)
		}
	}
}

// Serve implements Server.
func (s *Sockets) Serve(_ context.Context, given []Socket) (taken []Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, socket := range given {
		if _, have := s.inherited[socket.Name]; have || !s.wants(socket.Name) {
			socket.Close()
			continue
		}
		s.inherited[socket.Name] = socket
		taken = append(taken, socket.Name)
	}
	s.turn, s.endTurn = context.WithCancel(context.Background())
	close(s.began)
	s.began = make(chan struct{})
	return taken
}

// Offer implements Server.
func (s *Sockets) Offer() (sockets []Socket, release func()) {
	s.opening.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kept := range s.open {
		copied, err := kept.Copy()
		if err != nil {
			continue // for want of descriptors: whoever takes over opens one of its own, or says that it cannot
		}
		sockets = append(sockets, copied)
	}
	return sockets, s.opening.Unlock
}

// Rest implements Server.
func (s *Sockets) Rest(keep []Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endTurn()
	for _, name := range keep {
		if kept, ok := s.open[name]; ok {
			s.inherited[name] = kept
			delete(s.open, name)
		}
	}
	for name, kept := range s.open {
		kept.Close()
		delete(s.open, name)
	}
}

// Close gives all sockets back. The process serves no more.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range []map[Name]Socket{s.open, s.inherited} {
		for name, kept := range all {
			kept.Close()
			delete(all, name)
		}
	}
}
