// Package wire turns packets from clients into queries.
package wire

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

const headerSize = 12

// Query unpacks a packet. What is no query that could be answered has a refusal instead, which
// is no larger than the packet; and what is not even that, or is a reply, has neither.
func Query(packet []byte) (query, refusal *dns.Msg) {
	if len(packet) < headerSize {
		return nil, nil
	}
	var fields [headerSize / 2]uint16
	for i := range fields {
		fields[i] = binary.BigEndian.Uint16(packet[2*i:])
	}
	action := dns.DefaultMsgAcceptFunc(dns.Header{
		Id: fields[0], Bits: fields[1], Qdcount: fields[2], Ancount: fields[3], Nscount: fields[4], Arcount: fields[5],
	})
	if action == dns.MsgIgnore {
		return nil, nil
	}
	query = new(dns.Msg)
	err := query.Unpack(packet)
	if err == nil && action == dns.MsgAccept {
		return query, nil
	}
	refusal = new(dns.Msg)
	refusal.Id, refusal.Response, refusal.RecursionDesired = fields[0], true, fields[1]&(1<<8) != 0
	refusal.Opcode, refusal.Rcode = int(fields[1]>>11&0x0f), dns.RcodeFormatError
	if action == dns.MsgRejectNotImplemented {
		refusal.Rcode = dns.RcodeNotImplemented
	}
	if refusal.Question = query.Question; err != nil || refusal.Len() > len(packet) {
		refusal.Question = nil
	}
	return nil, refusal
}
