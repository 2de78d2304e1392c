package forward

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// record is one resource record of a packed message.
type record struct {
	owner, fields int // where its name, and the type behind it, stand
	rrtype        uint16
	data, end     int
}

// readRecord reads the record at the given place, and returns where the next one is. patched is
// as for skipName.
func readRecord(msg []byte, at int, patched []uint16) (record, int, error) {
	fields, err := skipName(msg, at, patched)
	if err != nil || fields+10 > len(msg) {
		return record{}, 0, errMalformed
	}
	r := record{owner: at, fields: fields, rrtype: binary.BigEndian.Uint16(msg[fields:]), data: fields + 10}
	r.end = r.data + int(binary.BigEndian.Uint16(msg[fields+8:]))
	if r.end > len(msg) {
		return record{}, 0, errMalformed
	}
	return r, r.end, nil
}

// skipName checks a name and returns where it ends in the message. Its pointers must point
// back, to labels that end before the pointer's own name begins, and not into the TTLs at the
// places patched, as they do in all messages that are not meant to harm.
func skipName(msg []byte, at int, patched []uint16) (int, error) {
	end, length := 0, 0
	start, limit := at, len(msg) // of the labels in a row
	for at < limit {
		b := int(msg[at])
		if end > 0 && inTTL(patched, at, b) {
			return 0, errMalformed
		}
		switch {
		case b == 0:
			return max(end, at+1), nil
		case b < 64:
			length += b + 1
			if length >= maxName {
				return 0, errMalformed
			}
			at += b + 1
		case b >= 0xc0 && at+1 < limit:
			if end == 0 {
				end = at + 2
			}
			at = (b&0x3f)<<8 | int(msg[at+1])
			if at >= start || at < headerSize {
				return 0, errMalformed
			}
			start, limit = at, start
		default:
			return 0, errMalformed
		}
	}
	return 0, errMalformed
}

// inTTL says whether the label of b bytes at the given place shares bytes with a TTL.
func inTTL(ttls []uint16, at, b int) bool {
	last := at + 1
	if b < 64 {
		last = at + b
	}
	i, _ := slices.BinarySearch(ttls, uint16(max(0, at-3)))
	return i < len(ttls) && int(ttls[i]) <= last
}

// scanned is what a walk through a reply found.
type scanned struct {
	ttls            []uint16
	owners          []uint16 // where the name is spelled out again
	opt, lastRecord int      // where they start; 0: there is none
	plain           bool
	answers         int
	lowest          uint32 // TTL of the answer section
	soa             bool
	denial          uint32 // how long the SOA lets a negative answer live
}

// scan checks the records of a reply to the question of name.
func scan(msg []byte, question int, name []byte) (scanned, error) {
	s := scanned{plain: true, lowest: ^uint32(0)}
	at := question
	for section := range 3 {
		for range binary.BigEndian.Uint16(msg[6+2*section:]) {
			r, next, err := readRecord(msg, at, s.ttls)
			if err != nil {
				return s, err
			}
			s.lastRecord = at
			at = next
			if r.rrtype == typeOPT {
				// The upper bits of the code say that it did not understand our OPT.
				if section != 2 || s.opt > 0 || r.fields != r.owner+1 || msg[r.fields+4] != 0 {
					return s, errMalformed
				}
				s.opt = r.owner
				continue
			}
			if owner := msg[r.owner:r.fields]; equalFold(owner, name) {
				s.owners = append(s.owners, uint16(r.owner))
			}
			if err := s.add(msg, r, section); err != nil {
				return s, err
			}
		}
	}
	if at != len(msg) {
		return s, errMalformed
	}
	return s, nil
}

func (s *scanned) add(msg []byte, r record, section int) error {
	ttl := binary.BigEndian.Uint32(msg[r.fields+4:])
	if ttl > 1<<31-1 { // RFC 2181, 8
		ttl = 0
		binary.BigEndian.PutUint32(msg[r.fields+4:], 0)
	}
	s.ttls = append(s.ttls, uint16(r.fields+4))
	known, err := checkData(msg, r, s.ttls)
	if err != nil {
		return err
	}
	s.plain = s.plain && known
	switch {
	case section == 0:
		s.answers++
		s.lowest = min(s.lowest, ttl)
	case section == 1 && r.rrtype == dns.TypeSOA && known:
		s.soa = true
		s.denial = min(ttl, binary.BigEndian.Uint32(msg[r.end-4:]))
	}
	return nil
}

// lifetime is how long the reply may be kept, by RFC 2308 where it denies; 0: not at all.
func (s *scanned) lifetime(a *answer) (lifetime time.Duration, negative bool) {
	seconds := s.lowest
	negative = a.rcode() == dns.RcodeNameError || s.answers == 0
	switch {
	case !a.usable(), a.truncated(), negative && !s.soa:
		return 0, negative
	case s.soa:
		seconds = min(seconds, s.denial)
	}
	return time.Duration(seconds) * time.Second, negative
}

// checkData says whether the record's type is one of the everyday ones; those are checked
// here, the others by the library.
func checkData(msg []byte, r record, patched []uint16) (known bool, err error) {
	size, names, rest := r.end-r.data, 0, 0
	if binary.BigEndian.Uint16(msg[r.fields+2:]) != dns.ClassINET {
		return false, nil
	}
	switch r.rrtype {
	case dns.TypeA:
		return true, malformedUnless(size == 4)
	case dns.TypeAAAA:
		return true, malformedUnless(size == 16)
	case dns.TypeCNAME, dns.TypeNS, dns.TypePTR:
		names = 1
	case dns.TypeSOA:
		names, rest = 2, 20
	default:
		return false, nil
	}
	at := r.data
	for range names {
		if at, err = skipName(msg[:r.end], at, patched); err != nil {
			return true, err
		}
	}
	return true, malformedUnless(at+rest == r.end)
}

func malformedUnless(ok bool) error {
	if !ok {
		return errMalformed
	}
	return nil
}
