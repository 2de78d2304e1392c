// Package packed answers plain questions without unpacking them: a reply is packed once, and
// copied for each who asks. It is pure, and what it does for a query takes no lock and allocates
// nothing.
package packed

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

const (
	headerSize = 12
	optSize    = 11 // of an OPT record without options
	maxLabel   = 63
	maxName    = 255
)

// Bits of the header's third and fourth byte, and of an OPT record's fifth to eighth.
const (
	bitResponse  = 1 << 7
	bitAuthority = 1 << 2
	bitTruncated = 1 << 1
	bitRecursion = 1 << 0
	maskOpcode   = 0x0f << 3

	bitAvailable = 1 << 7
	bitChecking  = 1 << 4

	bitDNSSEC = 1 << 15
)

// Query is a plain question: what nearly all who ask for a service send. Its slices are the packet's.
type Query struct {
	Name []byte // as in the packet, with its final zero and whatever case
	Type uint16
	Size int // that the client takes, 512 at least

	packet []byte
	edns   bool
	dnssec bool // the client wants signatures
}

// Parse reads a packet. It returns false for all that is not plain, which is for others to read:
// what is no query or malformed, what has not one question of class IN with a name written in
// full, and what has more beside it than an OPT record without options.
func Parse(packet []byte) (q Query, plain bool) {
	if len(packet) < headerSize || packet[2]&(bitResponse|maskOpcode|bitTruncated) != 0 {
		return q, false
	}
	counts := binary.BigEndian.Uint64(packet[4:])
	extra := int(counts & 0xffff)
	if counts>>16 != 1<<32 || extra > 1 {
		return q, false
	}
	rest, ok := afterName(packet)
	if !ok || len(packet) < rest+4 || binary.BigEndian.Uint16(packet[rest+2:]) != dns.ClassINET {
		return q, false
	}
	q = Query{Name: packet[headerSize:rest], Type: binary.BigEndian.Uint16(packet[rest:]), Size: dns.MinMsgSize, packet: packet}
	if extra == 0 {
		return q, len(packet) == rest+4
	}
	return q, q.readOPT(packet[rest+4:])
}

// afterName is where the question's name ends; false if it is not written in full or too long.
func afterName(packet []byte) (end int, ok bool) {
	for at := headerSize; at < len(packet) && at < headerSize+maxName; {
		size := int(packet[at])
		if size == 0 {
			return at + 1, true
		}
		if size > maxLabel {
			return 0, false
		}
		at += 1 + size
	}
	return 0, false
}

// readOPT reads an OPT record of version 0 without options.
func (q *Query) readOPT(record []byte) bool {
	if len(record) != optSize || record[0] != 0 || binary.BigEndian.Uint16(record[1:]) != dns.TypeOPT ||
		record[6] != 0 || record[9] != 0 || record[10] != 0 {
		return false
	}
	q.edns = true
	q.dnssec = binary.BigEndian.Uint16(record[7:])&bitDNSSEC != 0
	q.Size = max(q.Size, int(binary.BigEndian.Uint16(record[3:])))
	return true
}

// Under says whether the query's name is a domain, which is given on the wire and in lower case, or
// below it.
func (q *Query) Under(domain []byte) bool {
	above := len(q.Name) - len(domain)
	if above < 0 {
		return false
	}
	for i, c := range q.Name[above:] {
		if 'A' <= c && c <= 'Z' { // a length is never as large
			c += 'a' - 'A'
		}
		if c != domain[i] {
			return false
		}
	}
	at := 0
	for at < above {
		at += 1 + int(q.Name[at])
	}
	return at == above
}
