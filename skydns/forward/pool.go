package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// A socket, and with it its port, is used this often and this long: a new one costs more
	// than a question, and who knows an old one's port need not guess it.
	socketUses = 200
	socketTime = 10 * time.Second
	// maxIdle is how many sockets wait for the next questions.
	maxIdle = 128
)

// pool keeps the sockets to one nameserver. Each asks one question at a time, so that whatever
// comes in is either the reply to it or no reply at all.
type pool struct {
	addr netip.AddrPort

	mu     sync.Mutex
	idle   []*socket
	closed bool
}

// socket is connected, from a port that the system chose at random.
type socket struct {
	conn   *net.UDPConn
	buffer [maxSize]byte
	born   time.Time
	uses   int
}

// exchange asks over UDP until the deadline.
func (p *pool) exchange(a asked, deadline time.Time) (*answer, error) {
	s, err := p.take()
	if err != nil {
		return nil, err
	}
	reply, err := s.exchange(a, deadline)
	if err != nil {
		// A late reply must not meet the next question.
		return nil, errors.Join(err, s.conn.Close())
	}
	return reply, p.give(s)
}

func (p *pool) take() (*socket, error) {
	now := time.Now()
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 && now.Sub(p.idle[last].born) <= socketTime {
		s := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return s, nil
	}
	old := p.idle // the last one was used last; the others are hardly younger
	p.idle = nil
	p.mu.Unlock()
	for _, s := range old {
		_ = s.conn.Close() // nothing is in hand
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.addr))
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn, born: now}, nil
}

// give takes back a socket that got its reply.
func (p *pool) give(s *socket) error {
	s.uses++
	p.mu.Lock()
	keep := !p.closed && s.uses < socketUses && len(p.idle) < maxIdle
	if keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if keep {
		return nil
	}
	return s.conn.Close()
}

// close closes the idle sockets, and the others as soon as they are given back.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, s := range idle {
		_ = s.conn.Close() // nothing is in hand
	}
}

// exchange sends the question under an id of its own and waits for the reply; whatever else
// arrives does not count.
func (s *socket) exchange(a asked, deadline time.Time) (*answer, error) {
	binary.BigEndian.PutUint16(a.packet, uint16(rand.Uint32()))
	if err := s.conn.SetReadDeadline(deadline); err != nil { // packets are sent at once, or not at all
		return nil, err
	}
	if _, err := s.conn.Write(a.packet); err != nil {
		return nil, err
	}
	for {
		n, err := s.conn.Read(s.buffer[:])
		if err != nil {
			return nil, err
		}
		switch packet := s.buffer[:n]; a.verdictOn(packet) {
		case matching:
			return newAnswer(packet, a.key)
		case folded:
			return nil, errFolded
		}
	}
}

// exchangeTCP asks over a TCP connection of its own until the deadline.
func (u *upstream) exchangeTCP(a asked, deadline time.Time) (*answer, error) {
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.Dial("tcp", u.addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(a.packet, uint16(rand.Uint32()))
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(a.packet)), uint16(len(a.packet)))
	if _, err := conn.Write(append(framed, a.packet...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, packet); err != nil {
		return nil, err
	}
	switch a.verdictOn(packet) {
	case matching:
		return newAnswer(packet, a.key)
	case folded:
		return nil, errFolded
	}
	return nil, fmt.Errorf("%w: reply to another question", errMalformed)
}
