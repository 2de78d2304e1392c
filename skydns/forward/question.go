package forward

import (
	"encoding/binary"
	"errors"
)

// Sizes and codes of RFC 1035 and RFC 6891.
const (
	headerSize  = 12
	optSize     = 11 // of an OPT record without options
	maxName     = 255
	minSize     = 512   // that every client takes
	maxSize     = 4096  // that we take, whatever the client says
	maxMessage  = 65535 // that fits TCP
	typeOPT     = 41
	responseBit = 0x80 // in the third byte of a message
	truncateBit = 0x02
	rdBit       = 0x01
	adBit       = 0x20 // in the fourth
	cdBit       = 0x10
	doBit       = 0x80 // in the third byte of the OPT's TTL
)

// errQuery says that a packet is no query that could be forwarded.
var errQuery = errors.New("not a query of one question")

// The flags on which an answer depends, beside the question.
const (
	flagRD = 1 << iota
	flagAD
	flagCD
	flagEDNS
	flagDO
)

// keyPrefix is how many bytes of a key are before the name: flags, type and class.
const keyPrefix = 5

// query is what a packet asks. Its slices belong to the packet and to the parser's caller.
type query struct {
	id       [2]byte
	question []byte // name, type and class as the client wrote them
	key      []byte // all that the answer depends on
	size     int    // largest reply over UDP, at least minSize
	options  bool   // it has EDNS options, which are nobody's but ours
}

func (q *query) flags() byte { return q.key[0] }

// parseQuery reads a query and writes its key to the space of scratch.
func parseQuery(packet, scratch []byte) (query, error) {
	if len(packet) < headerSize || packet[2]&responseBit != 0 || packet[2]&0x78 != 0 {
		return query{}, errQuery
	}
	count := func(at int) uint16 { return binary.BigEndian.Uint16(packet[at:]) }
	if count(4) != 1 || count(6) != 0 || count(8) != 0 || count(10) > 1 {
		return query{}, errQuery
	}
	nameEnd := plainNameEnd(packet)
	if nameEnd == 0 || nameEnd+4 > len(packet) {
		return query{}, errQuery
	}
	q := query{id: [2]byte(packet), question: packet[headerSize : nameEnd+4], size: minSize}
	var flags byte
	if packet[2]&rdBit != 0 {
		flags |= flagRD
	}
	if packet[3]&adBit != 0 {
		flags |= flagAD
	}
	if packet[3]&cdBit != 0 {
		flags |= flagCD
	}
	rest := packet[nameEnd+4:]
	if count(10) == 1 {
		if len(rest) < optSize || rest[0] != 0 || binary.BigEndian.Uint16(rest[1:]) != typeOPT || rest[6] != 0 {
			return query{}, errQuery
		}
		flags |= flagEDNS
		if rest[7]&doBit != 0 {
			flags |= flagDO
		}
		q.size = min(max(int(binary.BigEndian.Uint16(rest[3:])), minSize), maxSize)
		options := int(binary.BigEndian.Uint16(rest[9:]))
		q.options = options > 0
		rest = rest[optSize:]
		if len(rest) < options {
			return query{}, errQuery
		}
		rest = rest[options:]
	}
	if len(rest) != 0 {
		return query{}, errQuery
	}
	key := append(scratch[:0], flags)
	key = append(key, packet[nameEnd:nameEnd+4]...)
	q.key = append(key, packet[headerSize:nameEnd]...)
	lower(q.key[keyPrefix:])
	return q, nil
}

// plainNameEnd is where the question's name ends, 0 if it is none: only whole labels, no
// pointers, 255 bytes at most.
func plainNameEnd(packet []byte) int {
	for at := headerSize; at < len(packet) && at < headerSize+maxName; {
		length := int(packet[at])
		at++
		if length == 0 {
			return at
		}
		if length > 63 {
			return 0
		}
		at += length
	}
	return 0
}

// lower folds a name in wire form. The bytes of lengths are below 64 and stay as they are.
func lower(name []byte) {
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			name[i] = b + 'a' - 'A'
		}
	}
}

// equalFold compares names in wire form; want is in lower case.
func equalFold(name, want []byte) bool {
	if len(name) != len(want) {
		return false
	}
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != want[i] {
			return false
		}
	}
	return true
}
