package udp

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many packets are read at a time. A busy server finds three to six.
	batchSize = 32
	// receiveBuffer is what the kernel keeps of a burst.
	receiveBuffer = 1 << 20
	// originSize is room for the control message that tells which of our addresses was asked.
	originSize = 64
)

// batch is packets that were read together and their replies. It uses the system calls for many
// packets on the runtime's poller, which package net has no way to. It is for one goroutine.
type batch struct {
	raw      syscall.RawConn
	wildcard bool // of many addresses: the reply must say from which it comes

	received [batchSize]message
	replies  [batchSize]message
	pending  int // of replies
	sent     int
	clients  [batchSize]unix.RawSockaddrInet6
	packets  [batchSize][MaxSize]byte
	rooms    [batchSize][MaxSize]byte
	origins  [batchSize][originSize]byte
	parts    [2 * batchSize]unix.Iovec

	// tryReceive and trySend are made once: closures of each call would be garbage.
	tryReceive, trySend func(fd uintptr) bool
	done                int
	err                 error
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	size   uint32
}

func newBatch(conn *net.UDPConn) (*batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	b := &batch{raw: raw, wildcard: local.IsUnspecified()}
	for i := range batchSize {
		in, out := &b.parts[i], &b.parts[batchSize+i]
		in.Base, out.Base = &b.packets[i][0], &b.rooms[i][0]
		in.SetLen(MaxSize)
		b.received[i].header.Iov, b.replies[i].header.Iov = in, out
		b.received[i].header.SetIovlen(1)
		b.replies[i].header.SetIovlen(1)
		b.received[i].header.Name = (*byte)(unsafe.Pointer(&b.clients[i]))
	}
	b.tryReceive = func(fd uintptr) bool {
		b.done, b.err = manyMessages(unix.SYS_RECVMMSG, fd, b.received[:])
		return !errors.Is(b.err, unix.EAGAIN)
	}
	b.trySend = func(fd uintptr) bool {
		b.done, b.err = manyMessages(unix.SYS_SENDMMSG, fd, b.replies[b.sent:b.pending])
		return !errors.Is(b.err, unix.EAGAIN)
	}
	return b, errors.Join(err, b.prepare(conn))
}

// prepare sets the socket's options.
func (b *batch) prepare(conn *net.UDPConn) (err error) {
	controlErr := b.raw.Control(func(fd uintptr) {
		// Only root may have more than the system's limit; others get what there is.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			err = conn.SetReadBuffer(receiveBuffer)
		}
		if !b.wildcard {
			return
		}
		if conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Is4() {
			err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
			return
		}
		err = errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
	})
	return errors.Join(controlErr, err)
}

// manyMessages does recvmmsg or sendmmsg, neither of which blocks here.
func manyMessages(call, fd uintptr, messages []message) (n int, err error) {
	for {
		done, _, errno := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(done), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// receive waits for packets, and returns how many there are.
func (b *batch) receive() (int, error) {
	b.pending, b.sent = 0, 0
	for i := range b.received {
		h := &b.received[i].header
		h.Namelen = uint32(unsafe.Sizeof(b.clients[i]))
		if b.wildcard {
			h.Control = &b.origins[i][0]
			h.SetControllen(originSize)
		}
	}
	for {
		if err := b.raw.Read(b.tryReceive); err != nil {
			return 0, err
		}
		// What a client's host says of an earlier reply is of no interest.
		if b.err == nil || !errors.Is(b.err, unix.ECONNREFUSED) {
			return b.done, b.err
		}
	}
}

// packet is packet i; nothing if it was larger than any may be.
func (b *batch) packet(i int) []byte {
	if b.received[i].header.Flags&unix.MSG_TRUNC != 0 {
		return nil
	}
	return b.packets[i][:b.received[i].size]
}

// client is who sent packet i.
func (b *batch) client(i int) netip.AddrPort {
	six := &b.clients[i]
	port := (*[2]byte)(unsafe.Pointer(&six.Port))
	number := uint16(port[0])<<8 | uint16(port[1])
	if six.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(six))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), number)
	}
	addr := netip.AddrFrom16(six.Addr)
	if six.Scope_id != 0 {
		addr = addr.WithZone(strconv.Itoa(int(six.Scope_id)))
	}
	return netip.AddrPortFrom(addr, number)
}

// origin is the control message that makes the reply to packet i leave from the address that was
// asked, where the socket has many.
func (b *batch) origin(i int) []byte {
	h := &b.received[i].header
	if !b.wildcard || h.Controllen < unix.SizeofCmsghdr {
		return nil
	}
	control := b.origins[i][:h.Controllen]
	header := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	data := unsafe.Pointer(&control[unix.CmsgLen(0)])
	// The way to the client is the routing's matter, not that of the interface it was heard on.
	switch {
	case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO:
		(*unix.Inet4Pktinfo)(data).Ifindex = 0
	case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO:
		if info := (*unix.Inet6Pktinfo)(data); !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
			info.Ifindex = 0
		}
	}
	return control
}

// room is where the next reply may be written.
func (b *batch) room() []byte { return b.rooms[b.pending][:0] }

// reply has a reply to packet i, which was written to room, sent with the others.
func (b *batch) reply(i int, wire []byte) {
	if len(wire) == 0 {
		return
	}
	m := &b.replies[b.pending]
	m.header.Iov.Base = &wire[0]
	m.header.Iov.SetLen(len(wire))
	m.header.Name, m.header.Namelen = b.received[i].header.Name, b.received[i].header.Namelen
	if origin := b.origin(i); origin != nil {
		m.header.Control = &origin[0]
		m.header.SetControllen(len(origin))
	}
	b.pending++
}

// send sends the replies. One that cannot be sent is left out: its client asks again.
func (b *batch) send() error {
	for b.sent < b.pending {
		if err := b.raw.Write(b.trySend); err != nil {
			return err
		}
		if b.err != nil {
			b.done = 1
		}
		b.sent += b.done
	}
	return nil
}
