package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxMessage = 64 << 10
	maxSockets = 100 // in one message: the kernel takes 253
)

// What is said, in this order.
const (
	sayAsk     = "ask"     // the heir: may I have the sockets?
	saySockets = "sockets" // the holder: here they are, and go on
	sayServing = "serving" // the heir: I accept with these
	sayRetired = "retired" // the holder: I do not any more, and here is the post
)

// message is one packet. With it go the descriptors of a holder's sockets, in their order.
type message struct {
	Say     string `json:"say"`
	Sockets []Name `json:"sockets,omitempty"`
	More    bool   `json:"more,omitempty"` // sockets in the next message
}

// line is a connection between a holder and its heir.
type line struct{ *net.UnixConn }

// limit bounds what follows.
func (l line) limit(timeout time.Duration) error { return l.SetDeadline(time.Now().Add(timeout)) }

func (l line) say(m message, sockets ...Socket) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(sockets) > 0 {
		fds := make([]int, len(sockets))
		for i, s := range sockets {
			fds[i] = s.fd
		}
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := l.WriteMsgUnix(text, rights, nil); err != nil {
		return fmt.Errorf("say %q: %w", m.Say, err)
	}
	return nil
}

// hear receives a message that has to be the given one. Only those of a holder come with sockets.
func (l line) hear(say string) (message, []Socket, error) {
	m, fds, err := l.receive()
	if err == nil && m.Say != say {
		err = fmt.Errorf("is %q", m.Say)
	}
	want := 0
	if say == saySockets || say == sayRetired {
		want = len(m.Sockets)
	}
	if err == nil && len(fds) != want {
		err = fmt.Errorf("has %d descriptors, not %d", len(fds), want)
	}
	if err != nil {
		for _, fd := range fds {
			_ = unix.Close(fd) // nothing was written to it
		}
		return message{}, nil, fmt.Errorf("hear %q: %w", say, err)
	}
	var sockets []Socket
	for i, fd := range fds {
		sockets = append(sockets, Socket{Name: m.Sockets[i], fd: fd})
	}
	return m, sockets, nil
}

// receive returns the descriptors with an error, too.
func (l line) receive() (m message, fds []int, err error) {
	text, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*(maxSockets+1)))
	n, control, flags, _, err := l.ReadMsgUnix(text, rights)
	if err != nil {
		return message{}, nil, err
	}
	fds, err = descriptors(rights[:control])
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("is too long")
	}
	if err == nil {
		err = json.Unmarshal(text[:n], &m)
	}
	return m, fds, err
}

func descriptors(control []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		more, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // no descriptors, but something else
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

// sayAll tells of all sockets.
func (l line) sayAll(sockets []Socket) error {
	for {
		part := sockets[:min(len(sockets), maxSockets)]
		sockets = sockets[len(part):]
		m := message{Say: saySockets, More: len(sockets) > 0}
		for _, s := range part {
			m.Sockets = append(m.Sockets, s.Name)
		}
		if err := l.say(m, part...); err != nil || !m.More {
			return err
		}
	}
}

// hearAll returns what sayAll told.
func (l line) hearAll() (sockets []Socket, err error) {
	for {
		m, more, err := l.hear(saySockets)
		if err != nil {
			closeAll(sockets)
			return nil, err
		}
		sockets = append(sockets, more...)
		if !m.More {
			return sockets, nil
		}
	}
}
