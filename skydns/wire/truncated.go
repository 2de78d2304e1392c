package wire

import "encoding/binary"

const (
	truncateBit = 0x02 // in the third byte
	optSize     = 11   // of an OPT record without options
)

// Truncated cuts a reply to a packet with a plain question down to the question, in place, and says
// by the TC bit that there is more over TCP. The OPT stays, which a reply to a query with one ends
// with.
func Truncated(reply, packet []byte) []byte {
	end := headerSize
	for end < len(reply) && reply[end] != 0 {
		end += int(reply[end]) + 1
	}
	end += 1 + 4
	if end > len(reply) {
		return nil
	}
	short := reply[:end]
	if binary.BigEndian.Uint16(packet[10:]) > 0 {
		short = append(short, reply[len(reply)-optSize:]...)
	}
	short[2] |= truncateBit
	copy(short[6:], []byte{0, 0, 0, 0, 0, packet[11]})
	return short
}
