package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// errMalformed says that a nameserver sent what is no DNS message.
var errMalformed = errors.New("reply is malformed")

// advertised is the size of packets that replies say we take.
const advertised = maxSize

// answer is a nameserver's reply, packed once for all who ask the same. It never changes.
type answer struct {
	wire     []byte   // id zero, no OPT
	question int      // where the question ends
	ttls     []uint16 // where the TTLs stand
	owners   []uint16 // where the name stands again, in the case that the nameserver was asked in
	lifetime time.Duration
	negative bool
}

func (a *answer) rcode() int { return int(a.wire[3] & 0x0f) }

func (a *answer) truncated() bool { return a.wire[2]&truncateBit != 0 }

// usable says whether the reply tells something about the name.
func (a *answer) usable() bool {
	return a.rcode() == dns.RcodeSuccess || a.rcode() == dns.RcodeNameError
}

// append appends the reply to q, of size bytes at most, to dst. The TTLs are age seconds less,
// or staleTTL if the answer is stale.
func (a *answer) append(dst []byte, q *query, size int, age uint32, stale bool) []byte {
	start := len(dst)
	dst = append(dst, a.wire...)
	reply := dst[start:]
	copy(reply, q.id[:])
	copy(reply[headerSize:a.question], q.question)
	for _, at := range a.owners {
		copy(reply[at:], q.question[:len(q.question)-4])
	}
	for _, at := range a.ttls {
		ttl := binary.BigEndian.Uint32(reply[at:])
		switch {
		case stale:
			ttl = staleTTL
		case ttl > age:
			ttl -= age
		default:
			ttl = 0
		}
		binary.BigEndian.PutUint32(reply[at:], ttl)
	}
	room := size
	if q.flags()&flagEDNS != 0 {
		room -= optSize
	}
	if len(reply) > room {
		dst = dst[:start+cut(reply, a.question, room)]
	}
	if q.flags()&flagEDNS == 0 {
		return dst
	}
	reply = dst[start:]
	binary.BigEndian.PutUint16(reply[10:], binary.BigEndian.Uint16(reply[10:])+1)
	opt := [optSize]byte{0, 0, typeOPT, advertised >> 8, advertised & 0xff}
	if q.flags()&flagDO != 0 {
		opt[7] = doBit
	}
	return append(dst, opt[:]...)
}

// cut drops records from the end of a reply until it has room bytes, and returns its new
// length. Records point back only, so that those before are whole. The TC bit says it where
// more than additional records went.
func cut(reply []byte, question, room int) int {
	end, left := question, [3]uint16{}
	at := question
	for section := range left {
		for range binary.BigEndian.Uint16(reply[6+2*section:]) {
			_, next, err := readRecord(reply, at, nil)
			if err != nil || next > room {
				if section < 2 {
					reply[2] |= truncateBit
				}
				for s := range left {
					binary.BigEndian.PutUint16(reply[6+2*s:], left[s])
				}
				return end
			}
			left[section]++
			at, end = next, next
		}
	}
	return end
}

// newAnswer takes over a nameserver's reply to the question of the key. The packet's header and
// question were looked at by verdictOn.
func newAnswer(packet, key []byte) (*answer, error) { return takeOver(packet, key, false) }

// takeOver is newAnswer. again says that the packet was packed by us.
func takeOver(packet, key []byte, again bool) (*answer, error) {
	name := key[keyPrefix:]
	if binary.BigEndian.Uint16(packet[4:]) == 0 {
		return bare(packet, key), nil
	}
	a := &answer{wire: append([]byte(nil), packet...), question: headerSize + len(name) + 4}
	a.wire[0], a.wire[1] = 0, 0
	copy(a.wire[headerSize:], name)
	s, err := scan(a.wire, a.question, name)
	if err != nil {
		return nil, err
	}
	lavish := len(packet) > minSize && len(s.owners) > 1 // some write all names out
	if !again && (lavish || !s.plain || s.opt > 0 && s.opt != s.lastRecord) {
		return repacked(packet, key)
	}
	if s.opt > 0 {
		a.wire = a.wire[:s.opt:s.opt]
		binary.BigEndian.PutUint16(a.wire[10:], binary.BigEndian.Uint16(a.wire[10:])-1)
	}
	if !s.plain {
		if err := new(dns.Msg).Unpack(a.wire); err != nil { // it packs records without data, and does not read them again
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	a.ttls, a.owners = s.ttls, s.owners
	a.lifetime, a.negative = s.lifetime(a)
	return a, nil
}

// bare is a refusal of a nameserver that left the question out, as some do.
func bare(packet, key []byte) *answer {
	a := &answer{question: headerSize + len(key) - 1, negative: true}
	a.wire = append(a.wire, 0, 0, packet[2], packet[3], 0, 1, 0, 0, 0, 0, 0, 0)
	a.wire = append(a.wire, key[keyPrefix:]...)
	a.wire = append(a.wire, key[1:keyPrefix]...)
	return a
}

// repacked is newAnswer for replies that cannot be taken as they are: with records that only the
// library knows, whose pointers may point at what changes from client to client; with an OPT
// record amid others, whose pointers would be wrong if it were cut out; and with names that take
// more room than a packet has, as they are not compressed.
func repacked(packet, key []byte) (*answer, error) {
	var msg dns.Msg
	if err := msg.Unpack(packet); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	msg.Extra = slices.DeleteFunc(msg.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	msg.Compress = true
	wire, err := msg.Pack()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return takeOver(wire, key, true)
}
