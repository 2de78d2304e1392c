package packed

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"github.com/miekg/dns"
)

const (
	pointerSize = 2
	pointer     = 0xc000
	// targetAt is where an answer of type SRV has its target: behind the owner's pointer, type,
	// class, TTL, size, priority, weight and port.
	targetAt = pointerSize + 10 + 6
	// ttlAt is where any record has its TTL, behind the owner's pointer, type and class.
	ttlAt = pointerSize + 4
)

// AnyTTL is more than any record may be cached.
const AnyTTL = math.MaxUint32

// Good says whether the reply still holds. It asks for the time only if that matters.
func (r *Reply) Good(now func() time.Time) bool { return r.until == 0 || now().Unix() < r.until }

// Rcode is the reply's code.
func (r *Reply) Rcode() int { return int(r.fourth & 0x0f) }

// Append appends the reply to q to dst, with no TTL above maxTTL and no more bytes than the client
// takes. What does not fit gives way as everywhere: first all additional records, without which a reply is still
// complete; only then some answers, which the TC bit says.
func (r *Reply) Append(dst []byte, q *Query, maxTTL uint32) []byte {
	start := len(dst)
	question := q.packet[:headerSize+len(q.Name)+4]
	limit := min(q.Size, MaxSize)
	if q.edns {
		limit -= optSize
	}
	answers, additional := int(r.count[0]), int(r.count[2])
	size := len(question) + pointerSize*answers + len(r.answers) + len(r.authority)
	if size+pointerSize*additional+len(r.additional) > limit {
		additional = 0
	}
	dst = append(dst, question...)
	dst[start+2] = r.third | dst[start+2]&bitRecursion
	dst[start+3] = r.fourth | dst[start+3]&bitChecking

	var order [maxRecords]uint8
	var places [maxRecords]uint16 // of the answers
	r.shuffled(order[:answers])
	for i, n := range order[:answers] {
		record := r.answer(int(n))
		if size > limit && len(dst)-start+pointerSize+len(record) > limit {
			dst[start+2] |= bitTruncated
			answers = i
			break
		}
		places[n] = uint16(len(dst) - start)
		dst = append(dst, pointer>>8, headerSize)
		dst = append(dst, record...)
		capTTL(dst[len(dst)-len(record)-pointerSize:], maxTTL)
	}
	dst = r.appendAuthority(dst, len(question), maxTTL)
	dst = r.appendAdditional(dst, additional, &places, maxTTL)
	if q.edns {
		additional++
		opt := [optSize]byte{0, 0, byte(dns.TypeOPT), MaxSize >> 8, MaxSize & 0xff}
		if q.dnssec {
			opt[7] = bitDNSSEC >> 8
		}
		dst = append(dst, opt[:]...)
	}
	header := dst[start:]
	binary.BigEndian.PutUint16(header[6:], uint16(answers))
	binary.BigEndian.PutUint16(header[8:], uint16(r.count[1]))
	binary.BigEndian.PutUint16(header[10:], uint16(additional))
	return dst
}

// capTTL lowers the TTL of a record whose owner is a pointer.
func capTTL(record []byte, most uint32) {
	if ttl := record[ttlAt : ttlAt+4]; binary.BigEndian.Uint32(ttl) > most {
		binary.BigEndian.PutUint32(ttl, most)
	}
}

// shuffled fills order with the numbers of the answers.
func (r *Reply) shuffled(order []uint8) {
	if !r.shuffle {
		for i := range order {
			order[i] = uint8(i)
		}
		return
	}
	for i := range order {
		j := rand.Uint32N(uint32(i + 1))
		order[i] = order[j]
		order[j] = uint8(i)
	}
}

func (r *Reply) answer(n int) []byte {
	if n == 0 {
		return r.answers[:r.ends[0]]
	}
	return r.answers[r.ends[n-1]:r.ends[n]]
}

// appendAuthority appends the authority to a reply whose question takes as many bytes with the
// header before it.
func (r *Reply) appendAuthority(dst []byte, question int, maxTTL uint32) []byte {
	if len(r.authority) == 0 {
		return dst
	}
	at := len(dst)
	dst = append(dst, r.authority...)
	capTTL(dst[at:], maxTTL)
	for _, place := range r.pointers {
		binary.BigEndian.PutUint16(dst[at+int(place):], pointer|uint16(question-4-r.domain))
	}
	return dst
}

// appendAdditional appends the first additional records, with their owners' places.
func (r *Reply) appendAdditional(dst []byte, count int, places *[maxRecords]uint16, maxTTL uint32) []byte {
	from := uint16(0)
	for i, to := range r.ends[r.count[0]:][:count] {
		owner := uint16(headerSize)
		if of := r.owners[i]; of != ofQuestion {
			owner = places[of] + targetAt
		}
		dst = binary.BigEndian.AppendUint16(dst, pointer|owner)
		dst = append(dst, r.additional[from:to]...)
		capTTL(dst[len(dst)-int(to-from)-pointerSize:], maxTTL)
		from = to
	}
	return dst
}
