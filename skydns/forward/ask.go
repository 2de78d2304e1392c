package forward

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/miekg/dns"
)

// asked is a question as one nameserver is asked: packed, with a spelling of its own.
type asked struct {
	packet   []byte // the id is each attempt's
	question int    // where it ends
	key      []byte
}

// markOption is the EDNS0 option that SkyDNS puts into queries to the servers of stub zones,
// to know them when they come back.
const markOption = 65011

// newAsked packs the question of a key. size is what an OPT says, and marked adds the option
// of stub zones.
func newAsked(key []byte, size int, marked bool) asked {
	flags, name := key[0], key[keyPrefix:]
	a := asked{key: key, packet: make([]byte, headerSize, headerSize+len(name)+4+optSize+5)}
	if flags&flagRD != 0 {
		a.packet[2] |= rdBit
	}
	if flags&flagAD != 0 {
		a.packet[3] |= adBit
	}
	if flags&flagCD != 0 {
		a.packet[3] |= cdBit
	}
	a.packet[5] = 1
	a.packet = append(a.packet, name...)
	a.packet = append(a.packet, key[1:keyPrefix]...)
	a.question = len(a.packet)
	if flags&flagEDNS == 0 && !marked {
		return a
	}
	if flags&flagEDNS == 0 {
		size = 0
	}
	a.packet[11] = 1
	opt := [optSize]byte{0, 0, typeOPT, byte(size >> 8), byte(size)}
	if flags&flagDO != 0 {
		opt[7] = doBit
	}
	if marked {
		opt[10] = 5
	}
	a.packet = append(a.packet, opt[:]...)
	if marked {
		a.packet = append(a.packet, markOption>>8, markOption&0xff, 0, 1, 1)
	}
	return a
}

// withoutOPT is the question for nameservers that do not know EDNS.
func (a asked) withoutOPT() asked {
	a.packet = append([]byte(nil), a.packet[:a.question]...)
	a.packet[11] = 0
	return a
}

// hasOPT says whether the question carries an OPT record.
func (a asked) hasOPT() bool { return len(a.packet) > a.question }

// spelled is the question as it was spelled.
func (a asked) spelled() []byte { return a.packet[headerSize:a.question] }

// misspell gives the name's letters random cases. Who wants to forge a reply without having
// seen the question must guess them.
func (a asked) misspell() {
	name := a.packet[headerSize : a.question-4]
	var bits uint64
	for i, b := range name {
		if i%64 == 0 {
			bits = rand.Uint64()
		}
		if 'a' <= b && b <= 'z' && bits&1 != 0 {
			name[i] = b - ('a' - 'A')
		}
		bits >>= 1
	}
}

// spellPlainly undoes misspell.
func (a asked) spellPlainly() { copy(a.packet[headerSize:], a.key[keyPrefix:]) }

// letters is how many letters a name in wire form has.
func letters(name []byte) int {
	n := 0
	for _, b := range name {
		if 'a' <= b|0x20 && b|0x20 <= 'z' {
			n++
		}
	}
	return n
}

// verdict is what a packet from a nameserver is.
type verdict int

const (
	foreign  verdict = iota // no reply to this question
	folded                  // it would be one, had the name the case in which it was asked
	matching                // the reply
)

// verdictOn looks at a packet that came in reply to the question.
func (a asked) verdictOn(packet []byte) verdict {
	if len(packet) < headerSize || packet[0] != a.packet[0] || packet[1] != a.packet[1] ||
		packet[2]&responseBit == 0 || packet[2]&0x78 != 0 {
		return foreign
	}
	switch binary.BigEndian.Uint16(packet[4:]) {
	case 0: // some leave it out where they refuse
		if rcode := packet[3] & 0x0f; rcode == dns.RcodeSuccess || rcode == dns.RcodeNameError {
			return foreign
		}
		return matching
	case 1:
	default:
		return foreign
	}
	if len(packet) < a.question {
		return foreign
	}
	got, spelled := packet[headerSize:a.question], a.spelled()
	if string(got) == string(spelled) {
		return matching
	}
	name := len(spelled) - 4
	if equalFold(got[:name], a.key[keyPrefix:]) && string(got[name:]) == string(spelled[name:]) {
		return folded
	}
	return foreign
}
