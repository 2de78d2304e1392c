package skydns

import (
	"fmt"

	"github.com/dokkaa/dokkaa/skydns/packed"
	"github.com/miekg/dns"
)

// maxUDPSize is the largest reply over UDP, whatever the client says that it takes, and what
// the server itself takes.
const maxUDPSize = packed.MaxSize

// replySize is how large a reply to req may be.
func replySize(req *dns.Msg, tcp bool) int {
	if tcp {
		return dns.MaxMsgSize
	}
	opt := req.IsEdns0()
	if opt == nil {
		return dns.MinMsgSize
	}
	return min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDPSize)
}

// newReply returns a reply to req of the given code without any records.
func newReply(req *dns.Msg, rcode int) *dns.Msg {
	reply := new(dns.Msg).SetRcode(req, rcode)
	reply.CheckingDisabled = req.CheckingDisabled
	reply.RecursionDesired = req.RecursionDesired
	if opt := req.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDPSize, opt.Do())
	}
	return reply
}

// withoutRecords is the reply without its records, which the TC bit says.
func withoutRecords(req, reply *dns.Msg) *dns.Msg {
	short := newReply(req, reply.Rcode)
	short.Truncated, short.Authoritative, short.RecursionAvailable = true, reply.Authoritative, reply.RecursionAvailable
	return short
}

// pack returns the reply on the wire, in size bytes at most. The additional section gives way
// first: without it the reply is still complete, since clients can ask for what stood there.
// Only then records of the other sections are dropped, which the TC bit says.
func pack(reply *dns.Msg, size int) ([]byte, error) {
	reply.Compress = true
	wire, err := reply.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack reply: %w", err)
	}
	if len(wire) <= size {
		return wire, nil
	}
	opt := reply.IsEdns0()
	reply.Extra = nil
	if opt != nil {
		reply.Extra = []dns.RR{opt}
	}
	reply.Truncate(size)
	reply.Compress = true
	if wire, err = reply.Pack(); err != nil {
		return nil, fmt.Errorf("pack reply: %w", err)
	}
	if len(wire) > size {
		return nil, fmt.Errorf("pack reply: %d bytes do not fit into %d", len(wire), size)
	}
	return wire, nil
}
